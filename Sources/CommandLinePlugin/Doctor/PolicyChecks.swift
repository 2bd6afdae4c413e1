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
            case .withheld(let withheld): return .error(withheld.problem, hint: withheld.hint)
            case .unavailable(let problem):
                let hint = facts.context.hintForUnreadablePolicy
                return .error(problem, hint: "every registry is refused until then; \(hint)")
            case .policy(let policy, let source):
                if let organization = source.organization, let problem = source.problem {
                    return .warning(
                        "the policy in force holds until \(organization.until), and nothing newer comes: \(problem)",
                        hint: "every registry is refused from then on; see whether this machine reaches "
                            + organization.server
                    )
                }
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
                hint: facts.enrollment.map { "ask an owner of \($0.organization) to look at them" }
                    ?? "run: docker ram policy validate \(facts.paths.policyFile)"
            )
        },
        MachineCheck("registry-packs", "Newer registry packs of this machine") { facts in
            let packs = InstalledPacks.load(facts.paths)
            if let problem = packs.problem {
                return .warning(problem, hint: "until then, the packs of the programs are in force")
            }
            return .ok(
                packs.path.map { "\"\($0)\" is in force" } ?? "there are none; those of the programs are in force"
            )
        },
    ]
}
