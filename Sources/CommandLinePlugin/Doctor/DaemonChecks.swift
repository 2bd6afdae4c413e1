import LocalInstallation
import RegistryAccess

extension MachineCheck {
    static let daemonChecks = [
        MachineCheck("daemon", "docker-ramd") { facts in
            guard let silence = facts.daemonSilence else { return .ok("it answers") }
            let hint = "run as root: systemctl status docker-ramd docker-ramd-control.socket"
            return facts.leak(silence, hint: hint)
        },
        MachineCheck("daemon-version", "Version of docker-ramd") { facts in
            guard let daemon = facts.daemon else { return .unknown("docker-ramd does not answer") }
            let version = daemon.value(named: "version")?.text ?? "unknown"
            guard version != ProductVersion.text else { return .ok(version) }
            return .warning(
                "docker-ramd is version \(version), docker-ram is \(ProductVersion.text)",
                hint: "run as root: systemctl restart docker-ramd"
            )
        },
        MachineCheck("daemon-settings", "Settings of docker-ramd") { facts in
            let file = facts.paths.daemonSettings
            if let fault = facts.settingsFault {
                return .error(fault, hint: "docker-ramd does not start with it; mend \"\(file)\"")
            }
            let wanted = facts.settings.egressProxy.listen
            guard facts.listen != wanted, !wanted.hasSuffix(":0") else { return .ok("\"\(file)\" can be used") }
            return .warning(
                "the egress proxy listens on \(facts.listen), where systemd opens its socket, and not on \(wanted)",
                hint: "say the same in \"egressProxy.listen\" and in docker-ramd-proxy.socket"
            )
        },
        MachineCheck("daemon-policy", "Policy that docker-ramd enforces") { facts in
            guard let daemon = facts.daemon?.value(named: "policy") else {
                return .unknown("docker-ramd does not answer")
            }
            // The document may be the last valid one, which both fall back on.
            if let policy = facts.policy.policy, daemon.value(named: "policyVersion")?.integer != policy.version {
                return .warning("docker-ramd has not taken over policy \(policy.version) yet", hint: "try again")
            }
            if let problem = daemon.value(named: "problem")?.text, facts.policy.problem == nil {
                return .warning("docker-ramd says: \(problem)", hint: "run as root: systemctl reload docker-ramd")
            }
            return .ok("it is the policy in force")
        },
        MachineCheck("decision-log", "Decision log") { facts in
            guard let log = facts.daemon?.value(named: "decisionLog") else {
                return .unknown("docker-ramd does not answer")
            }
            let dropped = log.value(named: "dropped")?.integer ?? 0
            guard dropped > 0 else { return .ok("no record was lost") }
            let path = log.value(named: "path")?.text ?? facts.paths.decisionLog
            return .warning(
                "\(dropped) records could not be written to \"\(path)\" since docker-ramd started",
                hint: "run as root: journalctl -u docker-ramd"
            )
        },
    ]
}
