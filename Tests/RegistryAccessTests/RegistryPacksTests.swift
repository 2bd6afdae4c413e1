import Testing

@testable import RegistryAccess

struct RegistryPacksTests {
    @Test(
        "The hosts of well-known registries",
        arguments: [
            (
                "docker.io", "Docker Hub",
                ["registry-1.docker.io", "auth.docker.io", "production.cloudflare.docker.com"]
            ),
            ("index.docker.io", "Docker Hub", ["registry-1.docker.io"]),
            ("ghcr.io", "GitHub Container Registry", ["ghcr.io", "pkg-containers.githubusercontent.com"]),
            ("ghcr.io:443", "GitHub Container Registry", ["ghcr.io"]),
            (
                "123456789012.dkr.ecr.eu-west-1.amazonaws.com", "Amazon ECR",
                [
                    "123456789012.dkr.ecr.eu-west-1.amazonaws.com", "api.ecr.eu-west-1.amazonaws.com",
                    "prod-eu-west-1-starport-layer-bucket.s3.eu-west-1.amazonaws.com",
                ]
            ),
            ("public.ecr.aws", "Amazon ECR Public", ["public.ecr.aws", "d5l0dvt14r5h8.cloudfront.net"]),
            (
                "europe-west1-docker.pkg.dev", "Google Artifact Registry",
                ["europe-west1-docker.pkg.dev", "us-docker.pkg.dev"]
            ),
            ("eu.gcr.io", "Google Container Registry", ["eu.gcr.io", "storage.googleapis.com"]),
            ("acme.azurecr.io", "Azure Container Registry", ["acme.azurecr.io", "acme.*.data.azurecr.io"]),
            ("mcr.microsoft.com", "Microsoft Artifact Registry", ["mcr.microsoft.com", "*.data.mcr.microsoft.com"]),
            ("quay.io", "Quay", ["quay.io", "cdn.quay.io", "cdn06.quay.io"]),
            ("registry.redhat.io", "Red Hat", ["registry.redhat.io", "sso.redhat.com", "cdn01.quay.io"]),
            ("registry.gitlab.com", "GitLab", ["registry.gitlab.com", "gitlab.com"]),
            ("registry.k8s.io", "Kubernetes", ["registry.k8s.io", "*-docker.pkg.dev"]),
        ]
    )
    func hosts(of registry: String, name: String, include expected: [String]) throws {
        let address = try RegistryAddress(registry)
        #expect(RegistryPacks.pack(for: address)?.name == name)
        let names = RegistryPacks.hosts(for: address).map(\.name)
        #expect(Set(names).isSuperset(of: expected))
        #expect(names.first == expected.first)
        #expect(Set(names).count == names.count)
    }

    @Test(arguments: [
        "registry.acme.test", "localhost:5000", "10.0.0.1", "ghcr.io:8443", "ghcr.io.evil.test", "evil-ghcr.io",
        "1.dkr.ecr.eu-west-1.amazonaws.com.evil.test", "dkr.ecr.eu-west-1.amazonaws.com", "azurecr.io",
        "a.b.azurecr.io",
        "x.gcr.io", "[::1]:5000",
    ])
    func `any other registry has no host but itself`(registry: String) throws {
        let address = try RegistryAddress(registry)
        #expect(RegistryPacks.pack(for: address) == nil)
        #expect(RegistryPacks.hosts(for: address).map(\.name) == [address.description])
    }

    @Test
    func `storage that strangers share is marked`() throws {
        let shared = Set(RegistryPacks.packs.flatMap(\.hosts).filter(\.isShared).map(\.name))
        #expect(
            shared == ["us-docker.pkg.dev", "storage.googleapis.com", "*.blob.core.windows.net", "*-docker.pkg.dev"]
        )
    }

    @Test(
        "A host matches label by label",
        arguments: [
            ("mcr.microsoft.com", "westeurope.data.mcr.microsoft.com", true),
            ("mcr.microsoft.com", "data.mcr.microsoft.com", false),
            ("mcr.microsoft.com", "a.b.data.mcr.microsoft.com", false),
            ("mcr.microsoft.com", "westeurope.data.mcr.microsoft.com:5000", false),
            ("registry.k8s.io", "europe-west4-docker.pkg.dev", true),
            ("registry.k8s.io", "-docker.pkg.dev.evil.test", false),
            ("registry.k8s.io", "prod-registry-k8s-io-eu-west-1.s3.dualstack.eu-west-1.amazonaws.com", true),
            ("registry.k8s.io", "evil.s3.dualstack.eu-west-1.amazonaws.com", false),
            ("acme.azurecr.io", "acme.westeurope.data.azurecr.io", true),
            ("acme.azurecr.io", "evil.westeurope.data.azurecr.io", false),
            (
                "1.dkr.ecr.us-east-1.amazonaws.com", "prod-us-east-1-starport-layer-bucket.s3.us-east-1.amazonaws.com",
                true
            ),
            (
                "1.dkr.ecr.us-east-1.amazonaws.com", "prod-eu-west-1-starport-layer-bucket.s3.eu-west-1.amazonaws.com",
                false
            ),
            ("registry.acme.test:5000", "registry.acme.test:5000", true),
            ("registry.acme.test:5000", "registry.acme.test", false),
        ]
    )
    func matches(registry: String, host: String, expected: Bool) throws {
        guard let address = try? RegistryAddress(host) else { return #expect(!expected) }
        let hosts = RegistryPacks.hosts(for: try RegistryAddress(registry))
        #expect(hosts.contains { $0.matches(address) } == expected)
    }

    @Test
    func `every host of every pack is written as a host`() throws {
        for host in RegistryPacks.packs.flatMap(\.hosts) {
            let filled = host.name.replacing("$1", with: "a").replacing("$2", with: "b").replacing("*", with: "x")
            #expect(throws: Never.self) { try RegistryAddress(filled) }
        }
    }
}
