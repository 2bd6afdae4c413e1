public import RegistryAccess

/// What the organization has in force on this machine: docker-ramd, which looks at signed documents and at the clock, writes
/// it down, and every other program goes by it.
public struct OrganizationPolicy: Sendable {
    /// What is in force.
    public enum State: String, Sendable, CaseIterable {
        /// A policy.
        case enforced
        /// Nothing, until somebody signs in.
        case signInRequired = "sign-in-required"
        /// Nothing, because who is signed in is no member.
        case notAMember = "not-a-member"
        /// Nothing, because what the organization said last does not hold any more.
        case expired
        /// Nothing, because the organization has not said anything yet that can be relied on.
        case none
    }

    /// The organization.
    public let organization: String
    /// Its server, or the folder with its documents.
    public let server: String
    /// What is in force.
    public let state: State
    /// Why nothing is in force, or why there is nothing newer; nothing if all is well.
    public let reason: String
    /// When the server said so last.
    public let issued: Instant?
    /// Until when the policy holds if nothing newer comes.
    public let until: Instant?
    /// Who is signed in.
    public let user: String?
    /// The policy with what the teams of who is signed in have in addition; there if it is enforced.
    public let policy: AccessPolicy?

    /// What an organization has in force.
    ///
    /// - Parameters:
    ///   - organization: the organization.
    ///   - server: its server.
    ///   - state: what is in force.
    ///   - reason: why nothing is, or why there is nothing newer.
    ///   - issued: when the server said so last.
    ///   - until: until when the policy holds.
    ///   - user: who is signed in.
    ///   - policy: the policy, if one is enforced.
    public init(
        organization: String,
        server: String,
        state: State,
        reason: String = "",
        issued: Instant? = nil,
        until: Instant? = nil,
        user: String? = nil,
        policy: AccessPolicy? = nil
    ) {
        self.organization = organization
        self.server = server
        self.state = state
        self.reason = reason
        self.issued = issued
        self.until = until
        self.user = user
        self.policy = policy
    }

    /// What decides on the machine by this.
    ///
    /// - Parameters:
    ///   - path: the file that this stands in.
    ///   - now: the time.
    /// - Returns: that; nothing that has ended or is not complete lets anything pass.
    public func inForce(from path: String, at now: Instant) -> PolicyInForce {
        func withheld(_ cause: WithheldPolicy.Cause, _ reason: String) -> PolicyInForce {
            .withheld(
                WithheldPolicy(
                    cause,
                    organization: organization,
                    server: server,
                    user: user,
                    reason: reason,
                    until: cause == .expired ? until : nil
                )
            )
        }
        switch state {
        case .enforced:
            guard let policy, let until else { return .unavailable("\"\(path)\" has no policy or no end of it") }
            guard until > now else {
                return withheld(.expired, reason.isEmpty ? "it ended at \(until)" : reason)
            }
            let source = PolicySource.Organization(server: server, issued: issued, until: until, user: user)
            let problem = reason.isEmpty ? nil : reason
            return .policy(policy, source: PolicySource(path: path, problem: problem, organization: source))
        case .signInRequired: return withheld(.signInRequired, reason)
        case .notAMember: return withheld(.notAMember, reason)
        case .expired: return withheld(.expired, reason)
        case .none:
            let more = reason.isEmpty ? "" : ": \(reason)"
            return .unavailable("\(organization) has no policy on this machine yet\(more)")
        }
    }

    // MARK: - The file

    /// Finds what the organization has in force.
    static func load(
        _ paths: InstallationPaths,
        of enrollment: Enrollment,
        packs: RegistryPacks?,
        at now: Instant
    ) -> PolicyInForce {
        let path = paths.organizationPolicy
        let bytes: [UInt8]
        do throws(FileError) {
            // It lies in docker-ramd's own directory and belongs to the user that docker-ramd runs as.
            let owner = try Files.status(paths.stateDirectory).owner
            let file = try Files.read(path, atMost: longestDocument)
            if let fault = try TrustedFile.fault(in: file.status, of: path, trusting: [0, owner]) {
                return .unavailable(fault)
            }
            bytes = file.bytes
        } catch {
            let hint = error.isNotFound ? "; docker-ramd, which writes it, has not run yet" : ""
            return .unavailable("\(error)\(hint)")
        }
        do throws(InvalidJSON) {
            let found = try OrganizationPolicy(json: bytes, packs: packs ?? InstalledPacks.load(paths).packs)
            guard found.organization.utf8.elementsEqual(enrollment.organization.utf8),
                found.server.utf8.elementsEqual(enrollment.server.description.utf8)
            else {
                return .unavailable(
                    "\"\(path)\" is of \(found.organization) at \(found.server) and not of the enrollment; "
                        + "docker-ramd, which writes it, does not run"
                )
            }
            return found.inForce(from: path, at: now)
        } catch {
            return .unavailable("\"\(path)\", \(error)")
        }
    }

    /// Writes this down for every program.
    ///
    /// - Parameter paths: where.
    /// - Throws: ``FileError``; what stood there then still does.
    public func write(_ paths: InstallationPaths) throws(FileError) {
        try Files.replace(paths.organizationPolicy, with: Array(json.utf8), mode: 0o644)
    }

    private static let longestDocument = AccessPolicy.longestDocument + 4096

    /// Reads the document.
    ///
    /// - Parameters:
    ///   - json: the document.
    ///   - packs: which hosts registries send their clients to.
    /// - Throws: `InvalidJSON` with the place of the first fault.
    public init(json: [UInt8], packs: RegistryPacks = .embedded) throws(InvalidJSON) {
        var scanner = JSONScanner(json, limits: StrictJSON.Limits(bytes: Self.longestDocument, depth: 9))
        try scanner.checkSize()
        var texts: [String: String] = [:]
        var state: State?
        var times: [String: Instant] = [:]
        var policy: AccessPolicy?
        let keys = ["version", "organization", "server", "state", "reason", "issued", "until", "user", "policy"]
        try scanner.object(of: keys) { (key, scanner) throws(InvalidJSON) in
            _ = scanner.peek()
            let start = scanner.position
            switch key {
            case "version":
                texts[key] = try scanner.number()
                guard texts[key] == "1" else { throw scanner.fault("the only version that is known is 1", at: start) }
            case "state":
                state = State(rawValue: try scanner.string())
                guard state != nil else { throw scanner.fault("this is no state that is known", at: start) }
            case "issued", "until":
                times[key] = Instant(try scanner.string())
                guard times[key] != nil else { throw scanner.fault("this is no instant", at: start) }
            case "policy": policy = try PolicyReader.document(&scanner, packs)
            default: texts[key] = try scanner.string()
            }
        }
        try scanner.end()
        func need<Value>(_ value: Value?, _ key: String) throws(InvalidJSON) -> Value {
            guard let value else { throw scanner.fault("the key \"\(key)\" is missing", at: 0) }
            return value
        }
        _ = try need(texts["version"], "version")
        self.init(
            organization: try need(texts["organization"], "organization"),
            server: try need(texts["server"], "server"),
            state: try need(state, "state"),
            reason: texts["reason"] ?? "",
            issued: times["issued"],
            until: times["until"],
            user: texts["user"],
            policy: policy
        )
    }

    /// The document.
    public var json: String {
        var members = [
            JSONMember("version", .number("1")),
            JSONMember("organization", .string(organization)),
            JSONMember("server", .string(server)),
            JSONMember("state", .string(state.rawValue)),
            JSONMember("reason", .string(reason)),
        ]
        if let issued { members.append(JSONMember("issued", .string(issued.description))) }
        if let until { members.append(JSONMember("until", .string(until.description))) }
        if let user { members.append(JSONMember("user", .string(user))) }
        if let policy { members.append(JSONMember("policy", policy.document)) }
        return JSONValue.object(members).text() + "\n"
    }
}
