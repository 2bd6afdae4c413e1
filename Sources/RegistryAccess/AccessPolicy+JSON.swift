extension AccessPolicy {
    /// The largest policy document that is read: 256 MiB, room for well over a million rules.
    public static let longestDocument = 256 << 20

    /// Reads a policy document.
    ///
    /// Every key must be known and come once; `docs/policy.md` describes them.
    ///
    /// - Parameters:
    ///   - json: the document.
    ///   - packs: which hosts the registries send their clients to.
    /// - Throws: ``InvalidPolicy`` with the place of the first fault. Nothing of a faulty document is in force.
    public init(json: [UInt8], packs: RegistryPacks = .embedded) throws(InvalidPolicy) {
        do throws(InvalidJSON) {
            var scanner = JSONScanner(json, limits: StrictJSON.Limits(bytes: Self.longestDocument, depth: 8))
            try scanner.checkSize()
            self = try PolicyReader.document(&scanner, packs)
            try scanner.end()
        } catch {
            throw InvalidPolicy(error)
        }
    }
}

/// Why a document is not a policy, and where.
public struct InvalidPolicy: Error, Equatable, Sendable, CustomStringConvertible {
    /// The line, counted from 1.
    public let line: Int
    /// The column in bytes, counted from 1.
    public let column: Int
    /// What is wrong there.
    public let message: String

    /// A fault.
    ///
    /// - Parameters:
    ///   - line: the line, counted from 1.
    ///   - column: the column in bytes, counted from 1.
    ///   - message: what is wrong there.
    public init(line: Int, column: Int, message: String) {
        self.line = line
        self.column = column
        self.message = message
    }

    init(_ fault: InvalidJSON) {
        self.init(line: fault.line, column: fault.column, message: fault.message)
    }

    /// The place and the fault.
    public var description: String { "line \(line), column \(column): \(message)" }
}

/// The keys of a policy document and what may stand behind them.
package enum PolicyReader {
    package static func document(
        _ scanner: inout JSONScanner,
        _ packs: RegistryPacks
    ) throws(InvalidJSON) -> AccessPolicy {
        _ = scanner.peek()
        let start = scanner.position
        var version: Int?
        var organization: String?
        var isEnabled = true
        var mode = AccessPolicy.Mode.enforce
        var contact: String?
        var imports = AccessPolicy.Imports.deny
        var unmanagedBuilders = AccessPolicy.UnmanagedBuilders.allow
        var rules: [RegistryRule]?
        try scanner.object { (key, keyOffset, scanner) throws(InvalidJSON) in
            switch ascii(key) {
            case "version": version = try self.version(&scanner)
            case "organization": organization = try line(&scanner, atMost: 64, "organization")
            case "enabled": isEnabled = try scanner.bool()
            case "mode": mode = try choice(&scanner)
            case "contact": contact = try line(&scanner, atMost: 100, "contact")
            case "imports": imports = try choice(&scanner)
            case "unmanagedBuilders": unmanagedBuilders = try choice(&scanner)
            case "registries": rules = try self.rules(&scanner)
            default:
                throw unknown(
                    key,
                    [
                        "version", "organization", "enabled", "mode", "contact", "imports", "unmanagedBuilders",
                        "registries",
                    ],
                    &scanner,
                    keyOffset
                )
            }
        }
        guard let version else { throw scanner.fault("the key \"version\" is missing", at: start) }
        guard let organization else { throw scanner.fault("the key \"organization\" is missing", at: start) }
        guard let rules else { throw scanner.fault("the key \"registries\" is missing", at: start) }
        return AccessPolicy(
            version: version,
            organization: organization,
            isEnabled: isEnabled,
            mode: mode,
            contact: contact,
            imports: imports,
            unmanagedBuilders: unmanagedBuilders,
            rules: rules,
            packs: packs
        )
    }

    package static func rules(_ scanner: inout JSONScanner) throws(InvalidJSON) -> [RegistryRule] {
        var rules: [RegistryRule] = []
        try scanner.array { (scanner) throws(InvalidJSON) in rules.append(try rule(&scanner)) }
        return rules
    }

    private static func rule(_ scanner: inout JSONScanner) throws(InvalidJSON) -> RegistryRule {
        _ = scanner.peek()
        let start = scanner.position
        var address: AddressPattern?
        var nickname: String?
        var isAllowed: Bool?
        var actions: Set<RegistryAction>?
        var repositories: [RepositoryPattern] = []
        var isInsecure = false
        var supportHosts: [AddressPattern] = []
        var isBroadAcknowledged = false
        try scanner.object { (key, keyOffset, scanner) throws(InvalidJSON) in
            switch ascii(key) {
            case "address": address = try pattern(&scanner)
            case "nickname": nickname = try self.nickname(&scanner)
            case "allowed": isAllowed = try scanner.bool()
            case "actions": actions = try self.actions(&scanner)
            case "repositories": repositories = try self.repositories(&scanner)
            case "insecure": isInsecure = try scanner.bool()
            case "supportHosts":
                supportHosts = try list(&scanner, "host") { (scanner) throws(InvalidJSON) in try pattern(&scanner) }
            case "acknowledgeBroad": isBroadAcknowledged = try scanner.bool()
            default:
                throw unknown(
                    key,
                    [
                        "address", "nickname", "allowed", "actions", "repositories", "insecure", "supportHosts",
                        "acknowledgeBroad",
                    ],
                    &scanner,
                    keyOffset
                )
            }
        }
        guard let address else { throw scanner.fault("the key \"address\" is missing from this registry", at: start) }
        guard let isAllowed else { throw scanner.fault("the key \"allowed\" is missing from this registry", at: start) }
        let rule = RegistryRule(
            address: address,
            nickname: nickname,
            isAllowed: isAllowed,
            actions: actions,
            repositories: repositories,
            isInsecure: isInsecure,
            supportHosts: supportHosts,
            isBroadAcknowledged: isBroadAcknowledged
        )
        if let broad = rule.unacknowledgedBroadPattern {
            throw scanner.fault(
                "\(broad); if that is meant, add \"acknowledgeBroad\": true to this registry",
                at: start
            )
        }
        return rule
    }

    // MARK: - Values

    /// A key as it may be compared with `==`: Swift holds some Unicode characters for equal to ASCII ones.
    static func ascii(_ key: String) -> String {
        ASCII.isAll(key) ? key : ""
    }

    static func unknown(
        _ key: String,
        _ known: [String],
        _ scanner: inout JSONScanner,
        _ offset: Int
    ) -> InvalidJSON {
        let names = known.map { "\"\($0)\"" }.joined(separator: ", ")
        return scanner.fault("unknown key \(JSONScanner.quoted(key)); known are \(names)", at: offset)
    }

    static func version(_ scanner: inout JSONScanner) throws(InvalidJSON) -> Int {
        _ = scanner.peek()
        let start = scanner.position
        let text = try scanner.number()
        // Digits only: Int() would take a sign. 2^53 is the last number that every JSON reader holds exactly.
        guard text.utf8.allSatisfy(ASCII.isDigit), let value = Int(text), (1...(1 << 53)).contains(value) else {
            throw scanner.fault("the version is not a whole number from 1 to 9007199254740992", at: start)
        }
        return value
    }

    /// A text that is printed in refusals: one line of printable ASCII.
    static func line(
        _ scanner: inout JSONScanner,
        atMost limit: Int,
        _ name: String
    ) throws(InvalidJSON) -> String {
        _ = scanner.peek()
        let start = scanner.position
        let text = try scanner.string()
        guard !text.isEmpty, text.utf8.count <= limit, text.utf8.allSatisfy(ASCII.isPrintable) else {
            throw scanner.fault("\"\(name)\" is not 1 to \(limit) printable ASCII characters", at: start)
        }
        return text
    }

    /// Whether people may call a registry so: nothing in it moves the cursor of a terminal.
    static func isNickname(_ text: String) -> Bool {
        text.utf8.count <= 200 && !text.unicodeScalars.contains(where: \.isHidden)
    }

    private static func nickname(_ scanner: inout JSONScanner) throws(InvalidJSON) -> String {
        _ = scanner.peek()
        let start = scanner.position
        let text = try scanner.string()
        guard isNickname(text) else {
            throw scanner.fault("\"nickname\" holds control characters or is longer than 200 bytes", at: start)
        }
        return text
    }

    static func choice<Value: RawRepresentable & Sendable>(
        _ scanner: inout JSONScanner
    ) throws(InvalidJSON) -> Value where Value.RawValue == String, Value: CaseIterable {
        _ = scanner.peek()
        let start = scanner.position
        let text = try scanner.string()
        guard let value = Value(rawValue: ascii(text)) else {
            let known = Value.allCases.map { "\"\($0.rawValue)\"" }.joined(separator: " or ")
            throw scanner.fault("unknown value \(JSONScanner.quoted(text)); expected \(known)", at: start)
        }
        return value
    }

    package static func actions(_ scanner: inout JSONScanner) throws(InvalidJSON) -> Set<RegistryAction> {
        Set(try list(&scanner, "action") { (scanner) throws(InvalidJSON) -> RegistryAction in try choice(&scanner) })
    }

    package static func pattern(_ scanner: inout JSONScanner) throws(InvalidJSON) -> AddressPattern {
        _ = scanner.peek()
        let start = scanner.position
        let text = try scanner.string()
        do throws(InvalidAddressPattern) {
            return try AddressPattern(text)
        } catch {
            throw scanner.fault("bad address \(JSONScanner.quoted(text)): \(error)", at: start)
        }
    }

    package static func repositories(_ scanner: inout JSONScanner) throws(InvalidJSON) -> [RepositoryPattern] {
        try list(&scanner, "repository") { (scanner) throws(InvalidJSON) in try repository(&scanner) }
    }

    private static func repository(_ scanner: inout JSONScanner) throws(InvalidJSON) -> RepositoryPattern {
        _ = scanner.peek()
        let start = scanner.position
        let text = try scanner.string()
        do throws(InvalidRepositoryPattern) {
            return try RepositoryPattern(text)
        } catch {
            throw scanner.fault("bad repository \(JSONScanner.quoted(text)): \(error)", at: start)
        }
    }

    /// A list with at least one element, none of them twice: an empty one would read as "none" and mean "all".
    private static func list<Element: Hashable>(
        _ scanner: inout JSONScanner,
        _ name: String,
        _ element: (inout JSONScanner) throws(InvalidJSON) -> Element
    ) throws(InvalidJSON) -> [Element] {
        _ = scanner.peek()
        let start = scanner.position
        let elements = try scanner.distinctElements(name, element)
        guard !elements.isEmpty else {
            throw scanner.fault("an empty list would mean every \(name); leave the key out", at: start)
        }
        return elements
    }
}
