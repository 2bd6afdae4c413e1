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
    /// What is wrong in one place hides nothing behind it; only where a document is no JSON, the reading ends.
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
        guard reader.faults.isEmpty else {
            throw InvalidDockerDocument(faults: reader.faults.prefix(PolicyFaults.most).map(InvalidPolicy.init))
        }
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
        let shown = shown(of: policy)
        let byAddress = Dictionary(grouping: policy.rules, by: \.address)
        var seen: Set<AddressPattern> = []
        for rule in policy.rules where seen.insert(rule.address).inserted {
            let name = rule.address.description
            let rules = byAddress[rule.address] ?? []
            guard let isAllowed = shown[rule.address] else {
                let isOneRegistry = (try? RegistryAddress(name)) != nil
                let reason =
                    isOneRegistry
                    ? "Docker's would open it for every action and repository" : "Docker's has no patterns"
                losses.append("\"\(name)\" is left out: \(reason)")
                continue
            }
            if !isAllowed, rules.contains(where: { $0.isAllowed || !$0.isWhole }) {
                losses.append("\"\(name)\": Docker's denies it for every action and repository")
            }
            if rules.contains(where: { !$0.supportHosts.isEmpty }) {
                losses.append("\"\(name)\": its support hosts are to be listed as registries of their own there")
            }
            if name == "docker.io" {
                dockerHub = isAllowed
                continue
            }
            custom.append(
                .object([
                    JSONMember("address", .string(name)),
                    JSONMember("friendly_name", .string(rules.lazy.compactMap(\.nickname).first ?? name)),
                    JSONMember("allowed", .bool(isAllowed)),
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

    /// What ``export(_:)`` says of the addresses of a policy's rules: whether each is allowed.
    ///
    /// - Parameter policy: the policy.
    /// - Returns: nothing of those that are left out.
    static func shown(of policy: AccessPolicy) -> [AddressPattern: Bool] {
        // A part that is denied, by a pattern or not, cannot be said there; so the whole is.
        let strict = AccessPolicy(
            version: policy.version,
            organization: policy.organization,
            rules: policy.rules.map { $0.isAllowed ? $0 : RegistryRule(address: $0.address, isAllowed: false) }
        )
        var shown: [AddressPattern: Bool] = [:]
        for (pattern, rules) in Dictionary(grouping: policy.rules, by: \.address) {
            guard let address = try? RegistryAddress(pattern.description) else { continue }
            let isDenied = strict.verdict(on: AccessRequest(.pull, address)).reason == .deniedByRule
            if isDenied || rules.contains(where: \.isWhole) { shown[pattern] = !isDenied }
        }
        return shown
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
    /// Every fault with its place, in the order in which they stand; at least one, and not more than a hundred.
    public let faults: [InvalidPolicy]

    /// A fault in a line.
    public var description: String { faults.map(\.description).joined(separator: "\n") }
}

/// Notes what is wrong, and reads on behind it.
private struct DockerDocumentReader {
    var isEnabled = true
    var dockerHub: RegistryRule?
    var custom: [RegistryRule] = []
    var faults: [InvalidJSON] = []

    mutating func read(_ scanner: inout JSONScanner) throws(InvalidJSON) {
        let known = ["enabled", "standard_registries", "custom_registries"]
        try object(&scanner, of: known) { (key, scanner, reader) throws(InvalidJSON) in
            switch key {
            case "enabled": reader.isEnabled = try scanner.bool()
            case "standard_registries":
                try reader.array(&scanner) { (scanner, reader) throws(InvalidJSON) in try reader.standard(&scanner) }
            default:
                try reader.array(&scanner) { (scanner, reader) throws(InvalidJSON) in try reader.registry(&scanner) }
            }
        }
    }

    private mutating func standard(_ scanner: inout JSONScanner) throws(InvalidJSON) {
        var id: String?
        var isAllowed: Bool?
        let entry = try entry(&scanner, of: ["id", "allowed"]) { (key, scanner) throws(InvalidJSON) in
            if key == "id" { id = try scanner.string() } else { isAllowed = try scanner.bool() }
        }
        let isOther = id.map { PolicyReader.ascii($0) != "DockerHub" } ?? !entry.keys.contains("id")
        let wrong = isOther ? ["the only standard registry is \"DockerHub\""] : []
        note(wrong + entry.missing(["allowed"]), of: entry, scanner)
        guard id != nil, !isOther, let isAllowed else { return }
        guard dockerHub == nil else { return note(["\"DockerHub\" is there twice"], of: entry, scanner) }
        dockerHub = RegistryRule(
            address: AddressPattern(exactly: .dockerHub),
            nickname: "Docker Hub",
            isAllowed: isAllowed
        )
    }

    private mutating func registry(_ scanner: inout JSONScanner) throws(InvalidJSON) {
        let known = ["address", "friendly_name", "allowed"]
        var address: (pattern: AddressPattern, isInsecure: Bool)?
        var name: String?
        var isAllowed: Bool?
        let entry = try entry(&scanner, of: known) { (key, scanner) throws(InvalidJSON) in
            switch key {
            case "address": address = try Self.address(&scanner)
            case "friendly_name": name = try scanner.string()
            default: isAllowed = try scanner.bool()
            }
        }
        note(entry.missing(["address", "allowed"]), of: entry, scanner)
        guard let (pattern, isInsecure) = address, let isAllowed else { return }
        custom.append(
            RegistryRule(
                address: pattern,
                // A name decides nothing, so one that a policy does not take is no fault.
                nickname: name.flatMap { name in
                    !name.isEmpty && name != pattern.description && PolicyReader.isNickname(name) ? name : nil
                },
                isAllowed: isAllowed,
                isInsecure: isInsecure
            )
        )
    }

    private static func address(
        _ scanner: inout JSONScanner
    ) throws(InvalidJSON) -> (pattern: AddressPattern, isInsecure: Bool) {
        _ = scanner.peek()
        let start = scanner.position
        let text = try scanner.string()
        var host = text[...]
        for scheme in ["https://", "http://"] where host.utf8.starts(with: scheme.utf8) {
            host = host.dropFirst(scheme.utf8.count)
            break
        }
        if host.utf8.last == UInt8(ascii: "/") { host = host.dropLast() }
        do throws(InvalidRegistryAddress) {
            let address = try RegistryAddress(host)
            return (AddressPattern(exactly: address), text.utf8.starts(with: "http://".utf8))
        } catch {
            throw scanner.fault("bad address \(JSONScanner.quoted(text)): \(error)", at: start)
        }
    }

    // MARK: - Reading on

    /// An object of a list, where it stands and what it has.
    private struct Entry {
        let start: Int
        /// How many faults there were before it.
        let faultsBefore: Int
        var keys: Set<String> = []

        func missing(_ required: [String]) -> [String] {
            required.filter { !keys.contains($0) }.map { "the key \"\($0)\" is missing from this registry" }
        }
    }

    private mutating func entry(
        _ scanner: inout JSONScanner,
        of known: [String],
        _ member: (_ name: String, inout JSONScanner) throws(InvalidJSON) -> Void
    ) throws(InvalidJSON) -> Entry {
        _ = scanner.peek()
        var entry = Entry(start: scanner.position, faultsBefore: faults.count)
        try object(&scanner, of: known) { (key, scanner, _) throws(InvalidJSON) in
            entry.keys.insert(key)
            try member(key, &scanner)
        }
        return entry
    }

    /// Notes what is wrong with an object as a whole, before what is wrong in it.
    private mutating func note(_ messages: [String], of entry: Entry, _ scanner: JSONScanner) {
        faults.insert(contentsOf: messages.map { scanner.fault($0, at: entry.start) }, at: entry.faultsBefore)
    }

    /// Reads an object; a member that is none of the known ones, or is there twice, is noted and skipped.
    private mutating func object(
        _ scanner: inout JSONScanner,
        of known: [String],
        _ member: (_ name: String, inout JSONScanner, inout Self) throws(InvalidJSON) -> Void
    ) throws(InvalidJSON) {
        try scanner.members { (key, offset, isNew, scanner) throws(InvalidJSON) in
            try noting(&scanner) { (scanner, reader) throws(InvalidJSON) in
                guard isNew else { throw scanner.twice(key, at: offset) }
                try member(try scanner.known(key, of: known, at: offset), &scanner, &reader)
            }
        }
    }

    private mutating func array(
        _ scanner: inout JSONScanner,
        _ element: (inout JSONScanner, inout Self) throws(InvalidJSON) -> Void
    ) throws(InvalidJSON) {
        try scanner.array { (scanner) throws(InvalidJSON) in try noting(&scanner, element) }
    }

    /// Reads a value; if it is not the one that is wanted, that is noted, and the reading goes on behind it.
    ///
    /// - Throws: what is wrong if it is no JSON.
    private mutating func noting(
        _ scanner: inout JSONScanner,
        _ read: (inout JSONScanner, inout Self) throws(InvalidJSON) -> Void
    ) throws(InvalidJSON) {
        // The place of a fault takes a walk through the document.
        guard faults.count < PolicyFaults.most else { return try scanner.skip() }
        let start = scanner
        do throws(InvalidJSON) {
            try read(&scanner, &self)
        } catch {
            scanner = start
            try scanner.skip()
            faults.append(error)
        }
    }
}
