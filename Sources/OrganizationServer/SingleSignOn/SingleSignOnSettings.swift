import GRDB
import RegistryAccess
import SignedPolicy

/// The secret by which a provider knows us: whatever prints it prints `<redacted>`.
struct ClientSecret: Hashable, Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// The secret itself, for the provider and the database.
    let text: String

    /// Not the secret.
    var description: String { "<redacted>" }
    /// Not the secret.
    var debugDescription: String { "<redacted>" }
    /// Not the secret.
    var customMirror: Mirror { Mirror(self, children: []) }
}

/// At which provider the members of an organization sign in.
struct SingleSignOnSettings: Hashable, Sendable {
    /// Who becomes a member by signing in there.
    enum Membership: String, Sendable, CaseIterable {
        /// Nobody who is not linked already, or accepts an invitation.
        case invited
        /// Whoever has a verified e-mail address in one of the organization's domains, as `member`.
        case domain
    }

    let issuer: ProviderAddress
    /// What the provider calls us.
    let clientID: String
    let clientSecret: ClientSecret
    let scopes: [String]
    let membership: Membership
    /// In small letters; empty unless ``membership`` is ``Membership/domain``.
    let domains: [String]

    /// What is asked for if nothing else is set.
    static let standardScopes = ["openid", "email", "profile"]

    /// Whether an e-mail address is in one of the domains.
    ///
    /// - Parameter email: the address.
    /// - Returns: whether its domain is one of them, not below one.
    func covers(_ email: String) -> Bool {
        guard let at = email.lastIndex(of: "@"), at != email.startIndex else { return false }
        return domains.contains(email[email.index(after: at)...].lowercased())
    }

    /// The settings without the secret.
    ///
    /// - Parameter server: where the provider sends browsers back to.
    /// - Returns: what answers have.
    func json(at server: PublicAddress) -> JSONValue {
        .object([
            JSONMember("issuer", .string(issuer.description)), JSONMember("clientID", .string(clientID)),
            JSONMember("scopes", .texts(scopes)), JSONMember("membership", .string(membership.rawValue)),
            JSONMember("domains", .texts(domains)),
            JSONMember("redirectAddress", .string(SingleSignOn.redirectAddress(at: server))),
        ])
    }
}

// MARK: - What an owner sends

extension SingleSignOnSettings {
    /// Reads settings, strictly.
    ///
    /// - Parameters:
    ///   - scanner: where they are.
    ///   - current: what is set so far; its secret goes on to be used if none is given and issuer and client are the same.
    /// - Throws: `InvalidJSON` with the place.
    init(_ scanner: inout JSONScanner, current: SingleSignOnSettings?) throws(InvalidJSON) {
        var issuer: ProviderAddress?
        var (clientID, secret): (String?, String?)
        var scopes = Self.standardScopes
        var membership = Membership.invited
        var domains: [String] = []
        _ = scanner.peek()
        let start = scanner.position
        let known = ["issuer", "clientID", "clientSecret", "scopes", "membership", "domains"]
        try scanner.object(of: known) { (key, scanner) throws(InvalidJSON) in
            _ = scanner.peek()
            let start = scanner.position
            func label(_ longest: Int) throws(InvalidJSON) -> String {
                let text = try scanner.string()
                guard Names.isLabel(text, longest: longest) else {
                    throw scanner.fault("\"\(key)\" has 1 to \(longest) bytes and no control characters", at: start)
                }
                return text
            }
            switch key {
            case "issuer":
                issuer = ProviderAddress(try scanner.string())
                guard issuer != nil else {
                    throw scanner.fault("this is no issuer like \"https://login.acme.test/realms/acme\"", at: start)
                }
            case "clientID": clientID = try label(255)
            case "clientSecret": secret = try label(1024)
            case "scopes": scopes = try Self.texts(&scanner, "a scope", Self.isScope)
            case "membership":
                guard let value = Membership(rawValue: try scanner.string()) else {
                    throw scanner.fault("expected \"invited\" or \"domain\"", at: start)
                }
                membership = value
            default: domains = try Self.texts(&scanner, "a domain like \"acme.test\"", Self.isDomain)
            }
        }
        guard let issuer else { throw scanner.fault("the key \"issuer\" is missing", at: start) }
        guard let clientID else { throw scanner.fault("the key \"clientID\" is missing", at: start) }
        // The secret of one provider is not sent to another because somebody changes the address.
        let kept = current.flatMap { $0.issuer == issuer && $0.clientID == clientID ? $0.clientSecret : nil }
        guard let clientSecret = secret.map({ ClientSecret(text: $0) }) ?? kept else {
            throw scanner.fault("the key \"clientSecret\" is missing", at: start)
        }
        guard scopes.contains("openid") else { throw scanner.fault("\"scopes\" must have \"openid\"", at: start) }
        guard (membership == .domain) == !domains.isEmpty else {
            throw scanner.fault("\"domains\" go with \"membership\": \"domain\", and it with them", at: start)
        }
        self.init(
            issuer: issuer,
            clientID: clientID,
            clientSecret: clientSecret,
            scopes: scopes,
            membership: membership,
            domains: domains
        )
    }

    private static func texts(
        _ scanner: inout JSONScanner,
        _ what: String,
        _ isGood: (String) -> Bool
    ) throws(InvalidJSON) -> [String] {
        var texts: [String] = []
        try scanner.array { (scanner) throws(InvalidJSON) in
            _ = scanner.peek()
            let start = scanner.position
            let text = try scanner.string()
            guard isGood(text), !texts.contains(text), texts.count < 50 else {
                throw scanner.fault("this is not \(what), it is there already, or there are more than 50", at: start)
            }
            texts.append(text)
        }
        return texts
    }

    /// Whether a text is a scope (RFC 6749, section 3.3).
    static func isScope(_ text: String) -> Bool {
        (1...100).contains(text.utf8.count)
            && text.utf8.allSatisfy {
                (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\")
            }
    }

    /// Whether a text is the name of a domain, in small letters, with a dot in it.
    static func isDomain(_ text: String) -> Bool {
        let labels = text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        return text.utf8.count <= 253 && labels.count >= 2
            && labels.allSatisfy { label in
                (1...63).contains(label.count) && label.first != 45 && label.last != 45
                    && label.allSatisfy { (48...57).contains($0) || (97...122).contains($0) || $0 == 45 }
            }
    }
}

// MARK: - What the database keeps

extension Store {
    /// At which provider the members of an organization sign in.
    ///
    /// - Parameter organization: whose.
    /// - Returns: the settings; `nil` if there are none.
    /// - Throws: what SQLite says.
    func singleSignOn(of organization: String) async throws -> SingleSignOnSettings? {
        try await database.read { try Self.singleSignOn(of: organization, $0) }
    }

    static func singleSignOn(of organization: String, _ database: Database) throws -> SingleSignOnSettings? {
        let row = try Row.fetchOne(
            database,
            sql: "SELECT * FROM singleSignOn WHERE organization = ?",
            arguments: [organization]
        )
        guard let row, let issuer = ProviderAddress(row["issuer"]),
            let membership = SingleSignOnSettings.Membership(rawValue: row["membership"])
        else { return nil }
        let (scopes, domains): (String, String) = (row["scopes"], row["domains"])
        return SingleSignOnSettings(
            issuer: issuer,
            clientID: row["clientID"],
            clientSecret: ClientSecret(text: row["clientSecret"]),
            scopes: scopes.split(separator: " ").map(String.init),
            membership: membership,
            domains: domains.split(separator: " ").map(String.init)
        )
    }

    /// Sets at which provider the members of an organization sign in; sign-ins that are on their way end.
    ///
    /// - Parameters:
    ///   - settings: the settings; `nil` takes them out.
    ///   - organization: whose.
    ///   - actor: who does it.
    ///   - now: the time.
    /// - Returns: whether there were settings before.
    /// - Throws: what SQLite says.
    @discardableResult
    func set(_ settings: SingleSignOnSettings?, of organization: String, by actor: String, at now: Instant) async throws
        -> Bool
    {
        try await database.write { database in
            try database.execute(sql: "DELETE FROM singleSignOn WHERE organization = ?", arguments: [organization])
            let wasSet = database.changesCount > 0
            guard let settings else {
                if wasSet {
                    try Activity(.singleSignOnRemoved, by: actor, name: organization)
                        .record(in: organization, at: now, database)
                }
                return wasSet
            }
            try database.execute(
                sql: """
                    INSERT INTO singleSignOn
                        (organization, issuer, clientID, clientSecret, scopes, membership, domains)
                    VALUES (?, ?, ?, ?, ?, ?, ?)
                    """,
                arguments: [
                    organization, settings.issuer.description, settings.clientID, settings.clientSecret.text,
                    settings.scopes.joined(separator: " "), settings.membership.rawValue,
                    settings.domains.joined(separator: " "),
                ]
            )
            try Activity(
                .singleSignOnSet,
                by: actor,
                name: settings.issuer.description,
                data: [
                    JSONMember("clientID", .string(settings.clientID)),
                    JSONMember("membership", .string(settings.membership.rawValue)),
                    JSONMember("domains", .texts(settings.domains)),
                ]
            ).record(in: organization, at: now, database)
            return wasSet
        }
    }
}
