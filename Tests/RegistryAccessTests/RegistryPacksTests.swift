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
                ["europe-west1-docker.pkg.dev"]
            ),
            ("eu.gcr.io", "Google Container Registry", ["eu.gcr.io", "storage.googleapis.com"]),
            ("acme.azurecr.io", "Azure Container Registry", ["acme.azurecr.io", "acme.*.data.azurecr.io"]),
            (
                "acme.eastus.geo.azurecr.io", "Azure Container Registry",
                ["acme.eastus.geo.azurecr.io", "acme.eastus.data.azurecr.io"]
            ),
            ("mcr.microsoft.com", "Microsoft Artifact Registry", ["mcr.microsoft.com", "*.data.mcr.microsoft.com"]),
            ("quay.io", "Quay", ["quay.io", "cdn.quay.io", "cdn06.quay.io"]),
            ("registry.redhat.io", "Red Hat", ["registry.redhat.io", "sso.redhat.com", "cdn01.quay.io"]),
            ("registry.gitlab.com", "GitLab", ["registry.gitlab.com", "gitlab.com"]),
            ("registry.k8s.io", "Kubernetes", ["registry.k8s.io", "*-docker.pkg.dev"]),
        ]
    )
    func hosts(of registry: String, name: String, include expected: [String]) throws {
        let address = try RegistryAddress(registry)
        #expect(RegistryPacks.embedded.pack(for: address)?.name == name)
        let names = RegistryPacks.embedded.hosts(for: address).map(\.name)
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
        #expect(RegistryPacks.embedded.pack(for: address) == nil)
        #expect(RegistryPacks.embedded.hosts(for: address).map(\.name) == [address.description])
    }

    /// Also below a domain of one label, while forms are filed by their last two.
    @Test(arguments: [
        "ghcr.io", "*.io", "**.io", "*.com", "**.com", "*.azurecr.io", "**.azurecr.io", "**.amazonaws.com",
        "*.dkr.ecr.eu-west-1.amazonaws.com", "*.gcr.io", "**.dev", "*.pkg.dev", "**.test", "quay.io:*", "quay.io:443",
        "10.0.0.0/8", "**",
    ])
    func `a pattern opens the hosts of all registries that it speaks of`(text: String) throws {
        let pattern = try AddressPattern(text)
        let packs = RegistryPacks.embedded
        // Whatever stands in a capture; what the pattern leaves open comes as a star.
        let value = pattern.host == .exactly ? "x" : "eu-west-1"
        let expected = packs.packs.filter { pack in
            pack.registries.contains { form in
                let name = form.filled({ _ in value }, orElse: value)
                return (try? RegistryAddress(name)).map { pattern.matches($0) } ?? false
            }
        }
        let opened = Set(packs.hosts(openedBy: pattern).map(\.name))
        let names = expected.flatMap(\.hosts).map { host in
            host.form.filled({ host.form.captures[$0] == "region" && text.contains(value) ? value : "*" }, orElse: "*")
        }
        #expect(opened == (text == "**" ? [] : Set(names)))
    }

    @Test
    func `storage that strangers share is marked`() throws {
        let shared = Set(RegistryPacks.embedded.packs.flatMap(\.hosts).filter(\.isShared).map(\.form.text))
        #expect(
            shared == [
                "storage.googleapis.com", "*.blob.core.windows.net", "gitlab.com", "{location}-docker.pkg.dev",
                "prod-registry-k8s-io-{region}.s3.dualstack.{region}.amazonaws.com",
            ]
        )
    }
}
