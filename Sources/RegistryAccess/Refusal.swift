/// The sentence that a person reads when something is refused: the same words at every enforcement point.
///
/// A sentence is at most ``longest`` printable ASCII characters, because one of the ways to the person is the reason
/// phrase of an HTTP answer. What does not fit is left out from the end: first the advice, then the middle of names.
public struct Refusal: Sendable, Hashable {
    /// The longest sentence, in characters.
    public static let longest = 200

    /// What is refused.
    public enum Subject: Sendable, Hashable {
        /// A registry, by a verdict with this reason.
        case registry(RegistryAddress, Verdict.Reason)
        /// A request that could not be inspected, with the obstacle in a few words.
        case notInspected(String)
        /// A plugin that would take the place of the authorization plugin.
        case ownPlugin
        /// A BuildKit container that does not go through the egress proxy; the text names its image or itself.
        case unmanagedBuilder(String)
        /// Everything that touches a registry, because the policy cannot be read.
        case policyUnavailable
        /// Everything that touches a registry, until somebody signs in, because `registry.json` names the organization.
        case signInRequired(organization: String)
        /// Everything that touches a registry, because who is signed in is no member of the organization.
        case notAMember(organization: String, user: String?)
        /// Everything that touches a registry, because what the organization said last does not hold any more; and why
        /// nothing newer is there, in a few words.
        case policyExpired(organization: String, why: String)
    }

    /// What is refused.
    public let subject: Subject
    /// The decision's name.
    public let id: DecisionID
    /// The organization, if there is a policy.
    public let organization: String?
    /// The version of the policy, if there is one.
    public let policyVersion: Int?
    /// Whom to ask, if the policy says so.
    public let contact: String?
    /// Whether the organization can be asked with a command.
    public let takesRequests: Bool

    /// A refusal.
    ///
    /// - Parameters:
    ///   - subject: what is refused.
    ///   - id: the decision's name.
    ///   - policy: the policy in force, if there is one.
    ///   - takesRequests: whether the organization can be asked with a command, because the machine belongs to one.
    public init(_ subject: Subject, id: DecisionID, policy: AccessPolicy?, takesRequests: Bool = false) {
        self.subject = subject
        self.id = id
        organization = policy?.organization
        policyVersion = policy?.version
        contact = policy?.contact
        self.takesRequests = takesRequests
    }

    /// The sentence.
    public var sentence: String {
        let tail = ": \(Self.shortened(what, to: 80))"
        let brackets = Self.brackets(organization, policyVersion, id)
        var sentence = Self.printable(opening + tail + brackets + ".")
        if sentence.utf8.count > Self.longest {
            let short = Self.brackets(organization.map { Self.shortened($0, to: 32) }, policyVersion, id)
            sentence = Self.printable(opening + tail + short + ".")
        }
        for advice in advice {
            let longer = Self.printable("\(sentence) \(advice)")
            if longer.utf8.count <= Self.longest { sentence = longer }
        }
        return sentence
    }

    private var opening: String {
        switch subject {
        case .registry: "Your organization has disallowed this registry"
        case .notInspected: "This request could not be inspected"
        case .ownPlugin: "This plugin may not be replaced"
        case .unmanagedBuilder: "Your organization has disallowed builders outside its egress proxy"
        case .policyUnavailable: "Registries are refused until the policy can be read"
        case .signInRequired: "Your organization requires you to sign in"
        case .notAMember: "Only members of this organization may use registries here"
        case .policyExpired(let organization, _):
            "Registries are refused because the policy of \(Self.shortened(organization, to: 40)) has expired"
        }
    }

    private var what: String {
        switch subject {
        case .registry(let address, _): address.description
        case .notInspected(let obstacle): obstacle
        case .ownPlugin: "docker-ram"
        case .unmanagedBuilder(let name): name
        case .policyUnavailable: "run docker ram status"
        case .signInRequired(let organization): "registry.json names \(Self.shortened(organization, to: 40))"
        case .notAMember(let organization, _): Self.shortened(organization, to: 40)
        case .policyExpired(_, let why): Self.shortened(why, to: 56)
        }
    }

    private var advice: [String] {
        var advice: [String] = []
        switch subject {
        case .registry(_, .action): advice.append("Other actions are allowed there.")
        case .registry(_, .repository): advice.append("Other repositories are allowed there.")
        case .registry(_, .forbiddenAddress): advice.append("Its name leads to an address that is not allowed.")
        case .registry(_, .plainHTTP): advice.append("Plain HTTP is not allowed there.")
        case .registry(_, .serverName): advice.append("The TLS session is for another host.")
        case .registry(_, .notTLS): advice.append("What was sent there is not TLS.")
        case .unmanagedBuilder: advice.append("Run: docker ram engine builder NAME.")
        case .signInRequired: advice.append("Run: docker ram login.")
        case .notAMember(_, let user):
            advice.append("Ask an owner to invite you.")
            if let user { advice.append("Signed in: \(Self.shortened(user, to: 40)).") }
        case .policyExpired: advice.append("Run: docker ram status.")
        default: break
        }
        if let command = requestCommand {
            advice.append("Ask for access: \(command)")
        } else if let contact {
            advice.append("Ask \(contact) for access.")
        }
        return advice
    }

    /// What asks the organization for the registry; `nil` where that would not help, or nobody can be asked so.
    private var requestCommand: String? {
        guard takesRequests, case .registry(let address, let reason) = subject else { return nil }
        switch reason {
        // Whoever may not do something there may pull.
        case .action: return "docker ram request --push \(Self.argument(address))"
        case .noRule, .deniedByRule, .repository: return "docker ram request \(Self.argument(address))"
        default: return nil
        }
    }

    /// A registry as no command takes it for an image: without a dot or a port it would be one on Docker Hub.
    private static func argument(_ address: RegistryAddress) -> String {
        let text = address.description
        let isClear = text.utf8.contains { $0 == ASCII.dot || $0 == UInt8(ascii: ":") } || address.isLoopback
        return isClear ? text : "\(text):443"
    }

    private static func brackets(_ organization: String?, _ version: Int?, _ id: DecisionID) -> String {
        let parts = [organization, version.map { "policy \($0)" }, id.description].compactMap(\.self)
        return " (\(parts.joined(separator: ", ")))"
    }

    /// The text, its middle left out if it is too long: the end of a host name tells whose it is.
    private static func shortened(_ text: String, to limit: Int) -> String {
        guard text.utf8.count > limit else { return text }
        let bytes = Array(text.utf8)
        let head = limit / 3
        let tail = limit - head - 3
        return String(decoding: bytes.prefix(head), as: UTF8.self) + "..."
            + String(decoding: bytes.suffix(tail), as: UTF8.self)
    }

    private static func printable(_ text: String) -> String {
        String(decoding: text.utf8.map { ASCII.isPrintable($0) ? $0 : UInt8(ascii: "?") }, as: UTF8.self)
    }
}
