import LocalInstallation
import RegistryAccess

/// The results of one `check --host`: what the egress proxy would let pass.
struct HostChecks: CommandResult {
    let checks: [HostCheck]

    var json: JSONValue { .array(checks.map(\.json)) }

    func text(for context: CommandContext) -> String {
        CheckResults.table(checks.map { ($0.verdict, $0.name, $0.reason) }, context)
    }
}

/// What the egress proxy makes of one host.
struct HostCheck {
    let name: String
    let target: EgressTarget
    let verdict: Verdict
    private let policy: PolicyInForce

    /// Asks.
    ///
    /// - Parameters:
    ///   - name: host or host and port, as in a refusal; without a port it is 443.
    ///   - policy: what decides.
    ///   - servers: where the organization's own server is.
    /// - Throws: ``Failure`` if it is no host.
    init(_ name: String, _ policy: PolicyInForce, servers: [ServerURL]) throws(Failure) {
        do throws(InvalidRegistryAddress) {
            target = try EgressTarget(authority: name, defaultPort: 443)
        } catch {
            throw Failure("\"\(name)\" is not a host: \(error)", hints: ["write host[:port], like cdn.quay.io"])
        }
        self.name = name
        self.policy = policy
        verdict = policy.verdict(onReaching: target.address, orOneOf: servers)
    }

    var reason: String { verdict.inWords(on: target.address, by: policy) }

    var json: JSONValue {
        .object([
            JSONMember("name", .string(name)),
            JSONMember("host", .string(target.host)),
            JSONMember("port", .number("\(target.port)")),
            JSONMember("registry", .string(target.address.description)),
            JSONMember("verdict", .string(verdict.outcome.rawValue)),
            JSONMember("reason", .string(verdict.reason.rawValue)),
            JSONMember("rule", .text(verdict.rule(of: policy)?.address.description)),
            JSONMember("policyVersion", .integer(policy.policy?.version)),
            JSONMember("organization", .text(policy.policy?.organization)),
        ])
    }
}
