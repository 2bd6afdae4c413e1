public import RegistryAccess

/// One line of the decision log: what somebody wanted of a registry, and what the policy said.
///
/// The line is a JSON object with its keys in the order of the properties below; what is not known is `null`.
public struct DecisionRecord: Hashable, Sendable, Codable {
    /// Where a decision is made.
    public enum Point: String, Sendable, Codable, CaseIterable {
        /// `docker-credential-ram`.
        case credentialHelper = "credential-helper"
        /// docker-ramd, asked by the engine.
        case authorizationPlugin = "authorization-plugin"
        /// docker-ramd, between the engine and the outside.
        case egressProxy = "egress-proxy"
    }

    /// The decision's name, six hexadecimal digits; all contacts of one request share it.
    public var id: String
    /// When, in UTC: `2026-11-23T13:45:10.123Z`.
    public var time: String
    /// Where it was decided.
    public var point: Point
    /// What was wanted; `nil` if the request could not be inspected, and in the egress proxy, which cannot tell.
    public var action: RegistryAction?
    /// The registry; `nil` if the request could not be inspected.
    public var registry: String?
    /// The image, or what else is wanted of the registry; `nil` where only the registry can be seen.
    public var image: String?
    /// What was decided.
    public var verdict: Verdict.Outcome
    /// Why.
    public var reason: Verdict.Reason
    /// The address pattern of the rule that decided, if one did.
    public var rule: String?
    /// The version of the policy; `nil` if there is none.
    public var policyVersion: Int?
    /// The organization; `nil` if there is no policy.
    public var organization: String?
    /// What was in the way of inspecting the request, in few words; `nil` if nothing was.
    public var obstacle: String?
    /// The user id of who asked, as the kernel says; known for the credential helper only.
    public var user: Int?

    /// A record.
    ///
    /// - Parameters:
    ///   - id: the decision's name.
    ///   - time: when, in UTC.
    ///   - point: where it was decided.
    ///   - request: what was wanted, if it is known.
    ///   - image: the image or what else is wanted of the registry, if it is known.
    ///   - verdict: what was decided.
    ///   - policy: the policy that decided, if there is one.
    ///   - obstacle: what was in the way of inspecting the request, if something was.
    public init(
        id: DecisionID,
        time: String,
        point: Point,
        request: AccessRequest?,
        image: String?,
        verdict: Verdict,
        policy: AccessPolicy?,
        obstacle: String? = nil
    ) {
        self.id = id.description
        self.time = time
        self.point = point
        action = request?.action
        registry = request?.address.description
        self.image = image
        self.verdict = verdict.outcome
        reason = verdict.reason
        rule = verdict.rule.flatMap { index in
            policy.flatMap { $0.rules.indices.contains(index) ? $0.rules[index].address.description : nil }
        }
        policyVersion = policy?.version
        organization = policy?.organization
        self.obstacle = obstacle
    }

    /// A record of somebody who wants to reach a host, of which nothing else can be seen.
    ///
    /// - Parameters:
    ///   - id: the decision's name.
    ///   - time: when, in UTC.
    ///   - point: where it was decided.
    ///   - address: host and port, if they could be read.
    ///   - subject: what was asked for, in printable ASCII, if it could not be read.
    ///   - verdict: what was decided.
    ///   - policy: the policy that decided, if there is one.
    ///   - obstacle: what was in the way, if something was.
    public init(
        id: DecisionID,
        time: String,
        point: Point,
        reaching address: RegistryAddress?,
        subject: String? = nil,
        verdict: Verdict,
        policy: AccessPolicy?,
        obstacle: String? = nil
    ) {
        self.init(
            id: id,
            time: time,
            point: point,
            request: nil,
            image: subject,
            verdict: verdict,
            policy: policy,
            obstacle: obstacle
        )
        registry = address?.description
    }

    /// The record as a JSON object.
    public var json: JSONValue {
        .object([
            JSONMember("id", .string(id)),
            JSONMember("time", .string(time)),
            JSONMember("point", .string(point.rawValue)),
            JSONMember("action", .text(action?.rawValue)),
            JSONMember("registry", .text(registry)),
            JSONMember("image", .text(image)),
            JSONMember("verdict", .string(verdict.rawValue)),
            JSONMember("reason", .string(reason.rawValue)),
            JSONMember("rule", .text(rule)),
            JSONMember("policyVersion", .integer(policyVersion)),
            JSONMember("organization", .text(organization)),
            JSONMember("obstacle", .text(obstacle)),
            JSONMember("user", .integer(user)),
        ])
    }
}
