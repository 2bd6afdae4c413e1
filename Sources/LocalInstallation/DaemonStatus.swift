public import RegistryAccess

/// What docker-ramd says about itself over its control socket.
public struct DaemonStatus: Hashable, Sendable, Codable {
    /// The policy in force.
    public struct Policy: Hashable, Sendable, Codable {
        /// What becomes of a refusal.
        public enum State: String, Sendable, Codable, CaseIterable {
            /// It refuses.
            case enforce
            /// It is recorded only.
            case audit
            /// The policy is switched off: everything is allowed.
            case disabled
            /// There is no policy: everything is allowed.
            case unmanaged
            /// There should be a policy but it cannot be read: every registry is refused.
            case unavailable
            /// Sign-in is enforced and nobody is signed in: every registry is refused.
            case signInRequired = "sign-in-required"
            /// Who is signed in is no member of the organization: every registry is refused.
            case notAMember = "not-a-member"
            /// What the organization said last does not hold any more: every registry is refused.
            case expired

            /// The state where the organization withholds its policy.
            ///
            /// - Parameter cause: why it does.
            public init(_ cause: WithheldPolicy.Cause) {
                self =
                    switch cause {
                    case .signInRequired: .signInRequired
                    case .notAMember: .notAMember
                    case .expired: .expired
                    }
            }
        }

        /// What becomes of a refusal.
        public var state: State
        /// The file that the policy was read from, if there is one.
        public var source: String?
        /// The organization.
        public var organization: String?
        /// The version of the policy.
        public var policyVersion: Int?
        /// How many rules it has.
        public var rules: Int?
        /// Whom to ask.
        public var contact: String?
        /// Since when it is in force, in UTC.
        public var loadedAt: String?
        /// Until when it holds if nothing newer comes, if it is from an organization's server.
        public var until: String?
        /// What is wrong with the policy file, if anything is; or why there is nothing newer from the server.
        public var problem: String?

        /// What is said about the policy.
        ///
        /// - Parameters:
        ///   - state: what becomes of a refusal.
        ///   - source: the file that it was read from.
        ///   - organization: the organization.
        ///   - policyVersion: the version of the policy.
        ///   - rules: how many rules it has.
        ///   - contact: whom to ask.
        ///   - loadedAt: since when it is in force.
        ///   - problem: what is wrong with the policy file.
        public init(
            state: State,
            source: String? = nil,
            organization: String? = nil,
            policyVersion: Int? = nil,
            rules: Int? = nil,
            contact: String? = nil,
            loadedAt: String? = nil,
            problem: String? = nil
        ) {
            self.state = state
            self.source = source
            self.organization = organization
            self.policyVersion = policyVersion
            self.rules = rules
            self.contact = contact
            self.loadedAt = loadedAt
            self.problem = problem
        }
    }

    /// The authorization plugin.
    public struct AuthorizationPlugin: Hashable, Sendable, Codable {
        /// Its socket.
        public var socket: String
        /// How many requests of the engine it was asked about.
        public var requests: Int
        /// How many of them it allowed.
        public var allowed: Int
        /// How many of them it refused.
        public var refused: Int
        /// When it was asked last, in UTC.
        public var lastRequestAt: String?

        /// What is said about the authorization plugin.
        ///
        /// - Parameters:
        ///   - socket: its socket.
        ///   - requests: how many requests it was asked about.
        ///   - allowed: how many it allowed.
        ///   - refused: how many it refused.
        ///   - lastRequestAt: when it was asked last.
        public init(socket: String, requests: Int = 0, allowed: Int = 0, refused: Int = 0, lastRequestAt: String? = nil)
        {
            self.socket = socket
            self.requests = requests
            self.allowed = allowed
            self.refused = refused
            self.lastRequestAt = lastRequestAt
        }
    }

    /// The egress proxy.
    public struct EgressProxy: Hashable, Sendable, Codable {
        /// Where it listens, `host:port`; `nil` if it does not.
        public var address: String?
        /// Why it does not listen, if it does not.
        public var problem: String?
        /// How many requests it was sent by somebody who knows the secret.
        public var requests: Int
        /// How many of them it let pass.
        public var allowed: Int
        /// How many of them it refused.
        public var refused: Int
        /// How many requests came without the secret.
        public var strangers: Int
        /// How many tunnels are open now.
        public var tunnels: Int
        /// When the last request came, in UTC.
        public var lastRequestAt: String?

        /// What is said about the egress proxy.
        ///
        /// - Parameters:
        ///   - address: where it listens.
        ///   - problem: why it does not listen.
        ///   - requests: how many requests it was sent.
        ///   - allowed: how many it let pass.
        ///   - refused: how many it refused.
        ///   - strangers: how many requests came without the secret.
        ///   - tunnels: how many tunnels are open.
        ///   - lastRequestAt: when the last request came.
        public init(
            address: String? = nil,
            problem: String? = nil,
            requests: Int = 0,
            allowed: Int = 0,
            refused: Int = 0,
            strangers: Int = 0,
            tunnels: Int = 0,
            lastRequestAt: String? = nil
        ) {
            self.address = address
            self.problem = problem
            self.requests = requests
            self.allowed = allowed
            self.refused = refused
            self.strangers = strangers
            self.tunnels = tunnels
            self.lastRequestAt = lastRequestAt
        }
    }

    /// The decision log.
    public struct DecisionLog: Hashable, Sendable, Codable {
        /// Its file.
        public var path: String
        /// How many records were lost since the start, because the disk was too slow or full.
        public var dropped: Int

        /// What is said about the decision log.
        ///
        /// - Parameters:
        ///   - path: its file.
        ///   - dropped: how many records were lost.
        public init(path: String, dropped: Int = 0) {
            self.path = path
            self.dropped = dropped
        }
    }

    /// The version of docker-ramd.
    public var version: String
    /// When it started, in UTC.
    public var startedAt: String
    /// The root of all its paths.
    public var root: String
    /// The policy in force.
    public var policy: Policy
    /// The authorization plugin.
    public var authorizationPlugin: AuthorizationPlugin
    /// The egress proxy.
    public var egressProxy: EgressProxy
    /// The decision log.
    public var decisionLog: DecisionLog

    /// A status.
    ///
    /// - Parameters:
    ///   - version: the version of docker-ramd.
    ///   - startedAt: when it started.
    ///   - root: the root of all its paths.
    ///   - policy: the policy in force.
    ///   - authorizationPlugin: the authorization plugin.
    ///   - egressProxy: the egress proxy.
    ///   - decisionLog: the decision log.
    public init(
        version: String,
        startedAt: String,
        root: String,
        policy: Policy,
        authorizationPlugin: AuthorizationPlugin,
        egressProxy: EgressProxy,
        decisionLog: DecisionLog
    ) {
        self.version = version
        self.startedAt = startedAt
        self.root = root
        self.policy = policy
        self.authorizationPlugin = authorizationPlugin
        self.egressProxy = egressProxy
        self.decisionLog = decisionLog
    }

    /// The status as a JSON object.
    public var json: JSONValue {
        .object([
            JSONMember("version", .string(version)),
            JSONMember("startedAt", .string(startedAt)),
            JSONMember("root", .string(root)),
            JSONMember(
                "policy",
                .object([
                    JSONMember("state", .string(policy.state.rawValue)),
                    JSONMember("source", .text(policy.source)),
                    JSONMember("organization", .text(policy.organization)),
                    JSONMember("policyVersion", .integer(policy.policyVersion)),
                    JSONMember("rules", .integer(policy.rules)),
                    JSONMember("contact", .text(policy.contact)),
                    JSONMember("loadedAt", .text(policy.loadedAt)),
                    JSONMember("until", .text(policy.until)),
                    JSONMember("problem", .text(policy.problem)),
                ])
            ),
            JSONMember(
                "authorizationPlugin",
                .object([
                    JSONMember("socket", .string(authorizationPlugin.socket)),
                    JSONMember("requests", .integer(authorizationPlugin.requests)),
                    JSONMember("allowed", .integer(authorizationPlugin.allowed)),
                    JSONMember("refused", .integer(authorizationPlugin.refused)),
                    JSONMember("lastRequestAt", .text(authorizationPlugin.lastRequestAt)),
                ])
            ),
            JSONMember(
                "egressProxy",
                .object([
                    JSONMember("address", .text(egressProxy.address)),
                    JSONMember("problem", .text(egressProxy.problem)),
                    JSONMember("requests", .integer(egressProxy.requests)),
                    JSONMember("allowed", .integer(egressProxy.allowed)),
                    JSONMember("refused", .integer(egressProxy.refused)),
                    JSONMember("strangers", .integer(egressProxy.strangers)),
                    JSONMember("tunnels", .integer(egressProxy.tunnels)),
                    JSONMember("lastRequestAt", .text(egressProxy.lastRequestAt)),
                ])
            ),
            JSONMember(
                "decisionLog",
                .object([
                    JSONMember("path", .string(decisionLog.path)),
                    JSONMember("dropped", .integer(decisionLog.dropped)),
                ])
            ),
        ])
    }
}
