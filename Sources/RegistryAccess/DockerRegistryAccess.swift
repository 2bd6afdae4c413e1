/// Registry Access Management as Docker's own service keeps it, for moving to docker-ram and back.
///
/// The document is that of `GET` and `PUT /v2/orgs/{org}/settings/registry-access-management` (source:
/// docker/terraform-provider-docker, `internal/hubclient/client_organization.go`):
/// `{"enabled", "standard_registries": [{"id": "DockerHub", "allowed"}], "custom_registries": [{"address",
/// "friendly_name", "allowed"}]}`.
public struct DockerRegistryAccess: Sendable, Hashable {
    /// The largest document that is read: 8 MiB.
    public static let longestDocument = 8 << 20

    /// Whether it is in force.
    public let isEnabled: Bool
    /// Docker Hub first, if the document speaks of it, and then the others in their order.
    public let rules: [RegistryRule]

    /// Reads a document.
    ///
    /// An address is a host with or without a port, or the same behind `https://`. Behind `http://`, its rule is marked
    /// insecure. What docker-ram can say beyond that, a document of Docker's cannot hold: a pattern is a fault.
    ///
    /// - Parameter json: the document.
    /// - Throws: ``InvalidDockerDocument`` with every fault and its place.
    public init(json: [UInt8]) throws(InvalidDockerDocument) {
        var reader = DockerDocumentReader()
        do throws(InvalidJSON) {
            var scanner = JSONScanner(json, limits: StrictJSON.Limits(bytes: Self.longestDocument, depth: 8))
            try scanner.checkSize()
            try reader.read(&scanner)
            try scanner.end()
        } catch {
            reader.faults.append(error)
        }
        guard reader.faults.isEmpty else { throw InvalidDockerDocument(faults: reader.faults.map(InvalidPolicy.init)) }
        isEnabled = reader.isEnabled
        rules = (reader.dockerHub.map { [$0] } ?? []) + reader.custom
    }

    /// What Docker's document can hold of a policy, and what it cannot.
    ///
    /// - Parameter policy: the policy.
    /// - Returns: the document, and for each thing that is lost in it one line. Rules whose loss would open more than the
    ///   policy does are left out.
    public static func export(_ policy: AccessPolicy) -> (document: JSONValue, losses: [String]) {
        var losses: [String] = []
        var dockerHub = false
        var custom: [JSONValue] = []
        if policy.mode == .audit { losses.append("mode: Docker's has no audit mode, it would refuse") }
        // A part that is denied, by a pattern or not, cannot be said there; so the whole is.
        let strict = AccessPolicy(
            version: policy.version,
            organization: policy.organization,
            rules: policy.rules.map { $0.isAllowed ? $0 : RegistryRule(address: $0.address, isAllowed: false) }
        )
        let byAddress = Dictionary(grouping: policy.rules, by: \.address)
        var seen: Set<AddressPattern> = []
        for rule in policy.rules where seen.insert(rule.address).inserted {
            let name = rule.address.description
            guard let address = try? RegistryAddress(name) else {
                losses.append("\"\(name)\" is left out: Docker's has no patterns")
                continue
            }
            let rules = byAddress[rule.address] ?? []
            let isDenied = strict.verdict(on: AccessRequest(.pull, address)).reason == .deniedByRule
            if isDenied {
                if rules.contains(where: { $0.isAllowed || !$0.isWhole }) {
                    losses.append("\"\(name)\": Docker's denies it for every action and repository")
                }
            } else if !rules.contains(where: \.isWhole) {
                losses.append("\"\(name)\" is left out: Docker's would open it for every action and repository")
                continue
            }
            if rules.contains(where: { !$0.supportHosts.isEmpty }) {
                losses.append("\"\(name)\": its support hosts are to be listed as registries of their own there")
            }
            if name == "docker.io" {
                dockerHub = !isDenied
                continue
            }
            custom.append(
                .object([
                    JSONMember("address", .string(name)),
                    JSONMember("friendly_name", .string(rules.lazy.compactMap(\.nickname).first ?? name)),
                    JSONMember("allowed", .bool(!isDenied)),
                ])
            )
        }
        if custom.count > mostRegistries {
            losses.append("\(custom.count) registries: Docker's takes at most \(mostRegistries)")
        }
        let standard = JSONValue.object([
            JSONMember("id", .string("DockerHub")), JSONMember("allowed", .bool(dockerHub)),
        ])
        let document = JSONValue.object([
            JSONMember("enabled", .bool(policy.isEnabled)),
            JSONMember("standard_registries", .array([standard])),
            JSONMember("custom_registries", .array(custom)),
        ])
        return (document, losses)
    }

    /// How many registries an organization may list at Docker.
    private static let mostRegistries = 100
}

extension RegistryRule {
    /// Whether it speaks of everything that can be done there.
    fileprivate var isWhole: Bool { actions == Self.everyAction && repositories.isEmpty }
}

/// Why a document is not one of Docker's.
public struct InvalidDockerDocument: Error, Equatable, Sendable, CustomStringConvertible {
    /// Every fault with its place, in the order in which they stand; at least one.
    public let faults: [InvalidPolicy]

    /// A fault in a line.
    public var description: String { faults.map(\.description).joined(separator: "\n") }
}

private struct DockerDocumentReader {
    var isEnabled = true
    var dockerHub: RegistryRule?
    var custom: [RegistryRule] = []
    var faults: [InvalidJSON] = []

    mutating func read(_ scanner: inout JSONScanner) throws(InvalidJSON) {
        var reader = self
        let known = ["enabled", "standard_registries", "custom_registries"]
        try scanner.object(of: known) { (key, scanner) throws(InvalidJSON) in
            switch key {
            case "enabled": reader.isEnabled = try scanner.bool()
            case "standard_registries":
                try scanner.array { (scanner) throws(InvalidJSON) in try reader.standard(&scanner) }
            default: try scanner.array { (scanner) throws(InvalidJSON) in try reader.registry(&scanner) }
            }
        }
        self = reader
    }

    private mutating func standard(_ scanner: inout JSONScanner) throws(InvalidJSON) {
        _ = scanner.peek()
        let start = scanner.position
        var id: String?
        var isAllowed: Bool?
        try scanner.object(of: ["id", "allowed"]) { (key, scanner) throws(InvalidJSON) in
            if key == "id" { id = try scanner.string() } else { isAllowed = try scanner.bool() }
        }
        guard let id, PolicyReader.ascii(id) == "DockerHub" else {
            return faults.append(scanner.fault("the only standard registry is \"DockerHub\"", at: start))
        }
        guard let isAllowed else {
            return faults.append(scanner.fault("the key \"allowed\" is missing from this registry", at: start))
        }
        guard dockerHub == nil else { return faults.append(scanner.fault("\"DockerHub\" is there twice", at: start)) }
        guard let address = try? AddressPattern("docker.io") else { return }
        dockerHub = RegistryRule(address: address, nickname: "Docker Hub", isAllowed: isAllowed)
    }

    private mutating func registry(_ scanner: inout JSONScanner) throws(InvalidJSON) {
        _ = scanner.peek()
        let start = scanner.position
        var address: (text: String, offset: Int)?
        var name: String?
        var isAllowed: Bool?
        try scanner.object(of: ["address", "friendly_name", "allowed"]) { (key, scanner) throws(InvalidJSON) in
            switch key {
            case "address":
                _ = scanner.peek()
                let offset = scanner.position
                address = (try scanner.string(), offset)
            case "friendly_name": name = try scanner.string()
            default: isAllowed = try scanner.bool()
            }
        }
        guard let address else {
            return faults.append(scanner.fault("the key \"address\" is missing from this registry", at: start))
        }
        guard let isAllowed else {
            return faults.append(scanner.fault("the key \"allowed\" is missing from this registry", at: start))
        }
        let isInsecure = address.text.utf8.starts(with: "http://".utf8)
        var host = address.text[...]
        for scheme in ["https://", "http://"] where host.utf8.starts(with: scheme.utf8) {
            host = host.dropFirst(scheme.utf8.count)
            break
        }
        if host.utf8.last == UInt8(ascii: "/") { host = host.dropLast() }
        do throws(InvalidRegistryAddress) {
            // Everything that is a registry's address is a pattern for it.
            let text = try RegistryAddress(host).description
            guard let pattern = try? AddressPattern(text) else { throw .badCharacter }
            custom.append(
                RegistryRule(
                    address: pattern,
                    // A name decides nothing, so one that a policy does not take is no fault.
                    nickname: name.flatMap { !$0.isEmpty && $0 != text && PolicyReader.isNickname($0) ? $0 : nil },
                    isAllowed: isAllowed,
                    isInsecure: isInsecure
                )
            )
        } catch {
            let quoted = JSONScanner.quoted(address.text)
            faults.append(scanner.fault("bad address \(quoted): \(error)", at: address.offset))
        }
    }
}
