/// The hosts of well-known registries: where they send their clients for tokens and layers.
///
/// A support host is opened by allowing its registry, and only in the egress proxy; it never becomes a registry. The
/// hosts are those that the operators themselves name, or several large products' firewall lists agree on.
///
/// The packs are data with a version: one document is part of the programs (``embedded``), and a newer one can take
/// its place on a machine. `docs/policy.md` describes the document.
public struct RegistryPacks: Sendable, Hashable {
    /// The version, at least 1.
    public let version: Int
    /// The well-known registries in the order of the document.
    public let packs: [Pack]
    /// The forms of registries and of support hosts, so that a host is compared with few of them.
    private let registryForms: FormPlaces
    private let hostForms: FormPlaces

    init(version: Int, packs: [Pack]) {
        self.version = version
        self.packs = packs
        registryForms = FormPlaces(packs.map(\.registries))
        hostForms = FormPlaces(packs.map { $0.hosts.map(\.form) })
    }

    /// A well-known registry.
    public struct Pack: Sendable, Hashable {
        /// What people call it.
        public let name: String
        /// The forms of its addresses.
        let registries: [HostForm]
        /// What its clients contact.
        let hosts: [SupportHost]

        /// The addresses of its registries, as far as they are the same for every customer.
        package var registryAddresses: [String] { registries.filter(\.captures.isEmpty).map(\.text) }
    }

    /// A host that a pack opens.
    struct SupportHost: Sendable, Hashable {
        /// Its form; a capture that the registry's form does not have stands for anything, as a star does.
        let form: HostForm
        let purpose: Host.Purpose
        let isShared: Bool
    }

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
        /// An address that the host has, its stars filled with what no rule can name.
        let address: RegistryAddress

        init(_ address: RegistryAddress) {
            name = address.description
            purpose = .registry
            isShared = false
            self.address = address
        }

        init(_ host: SupportHost, named name: String) {
            self.name = name
            purpose = host.purpose
            isShared = host.isShared
            address = .filled(name.utf8.contains(ASCII.star) ? HostForm.withoutStars(name) : name)
        }
    }

    /// No packs at all: no registry opens any host but itself and its `supportHosts`.
    public static let empty = RegistryPacks(version: 0, packs: [])

    /// The packs that are part of the programs.
    public static let embedded: RegistryPacks = {
        do throws(InvalidJSON) {
            return try RegistryPacks(json: PackageResources.RegistryPacks_json)
        } catch {
            preconditionFailure("the embedded registry packs: line \(error.line): \(error.message)")
        }
    }()

    // MARK: - Asking

    /// The pack that a registry belongs to.
    ///
    /// - Parameter address: the registry.
    /// - Returns: `nil` if it is not a well-known one.
    public func pack(for address: RegistryAddress) -> Pack? {
        match(address)?.pack
    }

    /// What a client of a registry contacts.
    ///
    /// - Parameter address: the registry.
    /// - Returns: the registry itself first, then its support hosts; only itself if it is not a well-known one.
    public func hosts(for address: RegistryAddress) -> [Host] {
        guard let (pack, form, values) = match(address) else { return [Host(address)] }
        // What Docker Hub is called and where it answers are two names.
        let own = address == .dockerHub ? [] : [Host(address)]
        return own + pack.hosts(form, values).filter { $0.name != address.description }
    }

    /// The support hosts that a rule for a pattern opens, with a star for each capture that the pattern leaves open.
    ///
    /// - Parameter pattern: the address of a rule that allows.
    /// - Returns: the hosts of every pack with a registry that the pattern speaks of; none for `**`.
    func hosts(openedBy pattern: AddressPattern) -> [Host] {
        guard pattern.port == .any || pattern.port == .only(nil) else { return [] }
        var hosts: [Host] = []
        let name = pattern.name.utf8.span
        var found: [Range<Int>] = []
        for place in registryForms.places(for: name) {
            let pack = packs[place.pack]
            let form = pack.registries[place.form]
            let matches =
                switch pattern.host {
                case .exactly: form.matches(name, &found)
                case .oneLabelBelow: form.isBelow(name, oneLabel: true, &found)
                case .labelsBelow: form.isBelow(name, oneLabel: false, &found)
                case .everything, .ipv4Network, .ipv6Network: false
                }
            guard matches else { continue }
            let values = Self.texts(found, of: pattern.name)
            hosts += pack.hosts(form, values).filter { !hosts.contains($0) }
        }
        return hosts
    }

    /// The pack that an address is a support host of and nothing else: neither shared nor a registry too.
    func packOfSupportHost(_ address: RegistryAddress) -> Pack? {
        guard address.port == nil, !address.isIPAddress, pack(for: address) == nil else { return nil }
        let name = address.host.utf8.span
        var found: [Range<Int>] = []
        for place in hostForms.places(for: name) {
            let host = packs[place.pack].hosts[place.form]
            if !host.isShared, host.form.matches(name, &found) { return packs[place.pack] }
        }
        return nil
    }

    private func match(_ address: RegistryAddress) -> (pack: Pack, form: HostForm, values: [String?])? {
        guard address.port == nil, !address.isIPAddress else { return nil }
        let name = address.host.utf8.span
        var found: [Range<Int>] = []
        for place in registryForms.places(for: name) {
            let form = packs[place.pack].registries[place.form]
            guard form.matches(name, &found) else { continue }
            return (packs[place.pack], form, Self.texts(found, of: address.host))
        }
        return nil
    }

    static func texts(_ ranges: [Range<Int>], of host: String) -> [String?] {
        let bytes = Array(host.utf8)
        return ranges.map { $0.isEmpty ? nil : String(decoding: bytes[$0], as: UTF8.self) }
    }
}

/// Where forms stand in packs, filed by their last two labels, which are always written out.
private struct FormPlaces: Hashable, Sendable {
    struct Place: Hashable, Sendable {
        let pack: Int
        let form: Int
    }

    private let all: [Place]
    private let byTail: [UInt32: [Place]]

    init(_ packs: [[HostForm]]) {
        var all: [Place] = []
        var byTail: [UInt32: [Place]] = [:]
        for (pack, forms) in packs.enumerated() {
            for (index, form) in forms.enumerated() {
                let place = Place(pack: pack, form: index)
                all.append(place)
                byTail[form.tailHash, default: []].append(place)
            }
        }
        self.all = all
        self.byTail = byTail
    }

    /// The forms that a name may have, or that may lie below it, in their order: all of them if it is one label.
    func places(for name: Span<UInt8>) -> [Place] {
        HostForm.tailHash(name).map { byTail[$0] ?? [] } ?? all
    }
}

extension RegistryPacks.Pack {
    /// The support hosts of a registry whose form has these values for its captures.
    fileprivate func hosts(_ registry: HostForm, _ values: [String?]) -> [RegistryPacks.Host] {
        hosts.map { host in
            let name = host.form.filled(
                { place in registry.captures.firstIndex(of: host.form.captures[place]).flatMap { values[$0] } },
                orElse: "*"
            )
            return RegistryPacks.Host(host, named: name)
        }
    }
}

extension HostForm {
    /// A label that no address and no pattern has, so that only wildcards and `**` match a host with it.
    static let anyLabel = "_"

    /// A host name with stars in it, each of them filled with ``anyLabel``.
    static func withoutStars(_ name: String) -> String {
        String(decoding: name.utf8.map { $0 == ASCII.star ? ASCII.underscore : $0 }, as: UTF8.self)
    }
}

extension RegistryAddress {
    /// The address of a form whose holes are filled with parts of a host, or with ``HostForm/anyLabel``.
    static func filled(_ name: String) -> RegistryAddress {
        (try? parse(Array(name.utf8)[...])) ?? RegistryAddress(host: name, port: nil, kind: .name)
    }
}
