import LocalInstallation
import RegistryAccess

extension MachineCheck {
    static let policyChecks = [
        MachineCheck("policy", "Policy file") { facts in
            let path = facts.paths.policyFile
            let validate = "run: docker ram policy validate \(path)"
            switch facts.policy {
            case .unmanaged:
                return .warning(
                    "there is no \"\(path)\": this machine is unmanaged, every registry is allowed",
                    hint: "put the organization's policy there"
                )
            case .unavailable(let problem):
                return .error(problem, hint: "every registry is refused until then; \(validate)")
            case .policy(let policy, let source):
                if let problem = source.problem { return .error(problem, hint: validate) }
                return .ok("\(policy.organization), version \(policy.version), \(policy.stateInWords)")
            }
        },
        MachineCheck("policy-warnings", "Doubtful parts of the policy") { facts in
            guard let policy = facts.policy.policy else { return .ok("there is no policy to look at") }
            let warnings = policy.warnings
            guard !warnings.isEmpty else { return .ok("nothing") }
            let most = 5
            var lines = warnings.prefix(most).map { warning in
                (warning.rule.map { "registry \($0 + 1): " } ?? "") + warning.description
            }
            if warnings.count > most { lines.append("and \(warnings.count - most) more") }
            return Outcome(
                status: .warning,
                details: lines,
                hint: "run: docker ram policy validate \(facts.paths.policyFile)"
            )
        },
    ]
}
