/// The hosts of well-known registries: where they send their clients for tokens and layers.
///
/// A support host is opened by allowing its registry, and only in the egress proxy; it never becomes a registry. The
/// hosts are those that the operators themselves name, or several large products' firewall lists agree on.
public enum RegistryPacks {
    /// What a client of a registry contacts.
    public struct Host: Sendable, Hashable {
        /// What a host is for.
        public enum Purpose: String, Sendable, Codable, CaseIterable {
            /// The registry's own API.
            case registry
            /// Tokens and credentials.
            case signIn = "sign-in"
            /// Layers.
            case content
        }

        /// The host; a star stands for what is in one label and differs from client to client.
        public let name: String
        /// What it is for.
        public let purpose: Purpose
        /// Whether strangers can store something there too, so that opening it opens more than the registry.
        public let isShared: Bool

        init(_ name: String, _ purpose: Purpose, isShared: Bool = false) {
            self.name = name
            self.purpose = purpose
            self.isShared = isShared
        }

        /// Whether an address is this host; support hosts are on port 443.
        ///
        /// - Parameter address: the address.
        /// - Returns: `true` if every label fits.
        public func matches(_ address: RegistryAddress) -> Bool {
            if name == address.description { return true }
            return address.port == nil && !address.isIPAddress && HostForm(name).captures(address.host) != nil
        }
    }

    /// A well-known registry.
    public struct Pack: Sendable, Hashable {
        /// What people call it.
        public let name: String
        /// The forms of its addresses.
        let registries: [String]
        /// What its clients contact; `$1` stands for what the first star of the registry's form stands for.
        let hosts: [Host]
    }

    /// The pack that a registry belongs to.
    ///
    /// - Parameter address: the registry.
    /// - Returns: `nil` if it is not a well-known one.
    public static func pack(for address: RegistryAddress) -> Pack? {
        match(address)?.pack
    }

    /// What a client of a registry contacts.
    ///
    /// - Parameter address: the registry.
    /// - Returns: the registry itself first, then its support hosts; only itself if it is not a well-known one.
    public static func hosts(for address: RegistryAddress) -> [Host] {
        guard let (pack, captures) = match(address) else { return [Host(address.description, .registry)] }
        let hosts = pack.hosts.map { host in
            Host(filled(host.name, with: captures), host.purpose, isShared: host.isShared)
        }
        // What Docker Hub is called and where it answers are two names.
        let own = address == .dockerHub ? [] : [Host(address.description, .registry)]
        return own + hosts.filter { $0.name != address.description }
    }

    /// The name with the text of the stars in the place of its marks.
    private static func filled(_ name: String, with captures: [String]) -> String {
        var filled = ""
        var isMark = false
        for scalar in name.unicodeScalars {
            if isMark {
                let index = Int(scalar.value) - 0x31
                filled += captures.indices.contains(index) ? captures[index] : ""
            } else if scalar != "$" {
                filled.unicodeScalars.append(scalar)
            }
            isMark = !isMark && scalar == "$"
        }
        return filled
    }

    private static func match(_ address: RegistryAddress) -> (pack: Pack, captures: [String])? {
        guard address.port == nil, !address.isIPAddress else { return nil }
        for pack in packs {
            for form in pack.registries {
                if let captures = HostForm(form).captures(address.host) { return (pack, captures) }
            }
        }
        return nil
    }

    /// The well-known registries.
    public static let packs: [Pack] = [
        Pack(
            name: "Docker Hub",
            registries: ["docker.io"],
            hosts: [
                Host("registry-1.docker.io", .registry),
                Host("auth.docker.io", .signIn),
                Host("production.cloudflare.docker.com", .content),
                Host("production.cloudfront.docker.com", .content),
                Host("docker-images-prod.6aa30f8b08e16409b46e0173d6de2f56.r2.cloudflarestorage.com", .content),
            ]
        ),
        Pack(
            name: "GitHub Container Registry",
            registries: ["ghcr.io"],
            hosts: [Host("pkg-containers.githubusercontent.com", .content)]
        ),
        Pack(
            name: "Amazon ECR",
            registries: ["*.dkr.ecr.*.amazonaws.com"],
            hosts: [
                Host("api.ecr.$2.amazonaws.com", .signIn),
                Host("prod-$2-starport-layer-bucket.s3.$2.amazonaws.com", .content),
            ]
        ),
        Pack(
            name: "Amazon ECR Public",
            registries: ["public.ecr.aws", "ecr-public.aws.com"],
            hosts: [
                Host("ecr-public.us-east-1.api.aws", .signIn),
                Host("d5l0dvt14r5h8.cloudfront.net", .content),
                Host("d2glxqk2uabbnd.cloudfront.net", .content),
            ]
        ),
        Pack(
            name: "Google Artifact Registry",
            registries: ["*.pkg.dev"],
            // It redirects to a path of this host, which is a registry of its own.
            hosts: [Host("us-docker.pkg.dev", .content, isShared: true)]
        ),
        Pack(
            name: "Google Container Registry",
            registries: ["gcr.io", "us.gcr.io", "eu.gcr.io", "asia.gcr.io", "mirror.gcr.io"],
            hosts: [Host("storage.googleapis.com", .content, isShared: true)]
        ),
        Pack(
            name: "Azure Container Registry",
            registries: ["*.azurecr.io", "*.*.geo.azurecr.io"],
            hosts: [
                Host("$1.*.data.azurecr.io", .content),
                // Only registries with dedicated data endpoints do without it.
                Host("*.blob.core.windows.net", .content, isShared: true),
            ]
        ),
        Pack(
            name: "Microsoft Artifact Registry",
            registries: ["mcr.microsoft.com"],
            hosts: [Host("*.data.mcr.microsoft.com", .content)]
        ),
        Pack(name: "Quay", registries: ["quay.io"], hosts: quayContent),
        Pack(
            name: "Red Hat",
            registries: ["registry.redhat.io", "registry.access.redhat.com"],
            hosts: [Host("sso.redhat.com", .signIn)] + quayContent
        ),
        Pack(
            name: "GitLab",
            registries: ["registry.gitlab.com"],
            hosts: [Host("gitlab.com", .signIn), Host("cdn.registry.gitlab-static.net", .content)]
        ),
        Pack(
            name: "Kubernetes",
            registries: ["registry.k8s.io"],
            // Even manifests come from one of these.
            hosts: [
                Host("*-docker.pkg.dev", .content, isShared: true),
                Host("prod-registry-k8s-io-*.s3.dualstack.*.amazonaws.com", .content),
            ]
        ),
    ]

    private static let quayContent = [
        Host("cdn.quay.io", .content), Host("cdn01.quay.io", .content), Host("cdn02.quay.io", .content),
        Host("cdn03.quay.io", .content), Host("cdn04.quay.io", .content), Host("cdn05.quay.io", .content),
        Host("cdn06.quay.io", .content), Host("quay-registry.s3.amazonaws.com", .content),
        Host("quayio-production-s3.s3.amazonaws.com", .content),
    ]
}

/// A host name in which a star stands for one or more characters of one label.
struct HostForm {
    private let labels: [Substring.UTF8View]

    init(_ text: String) {
        labels = text.split(separator: ".", omittingEmptySubsequences: false).map(\.utf8)
    }

    /// What the stars stand for in a host, or `nil` if the host has another form.
    func captures(_ host: String) -> [String]? {
        let hostLabels = host.split(separator: ".", omittingEmptySubsequences: false).map(\.utf8)
        guard hostLabels.count == labels.count else { return nil }
        var captures: [String] = []
        for (form, label) in zip(labels, hostLabels) {
            guard let star = form.firstIndex(of: ASCII.star) else {
                guard form.elementsEqual(label) else { return nil }
                continue
            }
            let before = form[..<star]
            let after = form[form.index(after: star)...]
            guard label.count > before.count + after.count, label.starts(with: before),
                label.reversed().starts(with: after.reversed())
            else { return nil }
            captures.append(String(decoding: label.dropFirst(before.count).dropLast(after.count), as: UTF8.self))
        }
        return captures
    }
}
