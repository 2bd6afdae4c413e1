import Glibc
import LocalInstallation
import RegistryAccess

extension MachineCheck {
    static let engineChecks = [
        MachineCheck("engine", "Docker Engine") { facts in
            guard let fault = facts.engine.fault else { return .ok(facts.engine.name) }
            if fault.contains("permission denied") {
                return .unknown(fault, hint: "run it as root, or as somebody who may use Docker")
            }
            guard fault != DockerProgram.Trouble.notFound.description else { return .unknown(fault) }
            if facts.daemon == nil, facts.told?.isEnabled == true {
                return .error(fault, hint: "it may wait for docker-ramd; run as root: systemctl restart docker-ramd")
            }
            return .error(fault, hint: "run as root: systemctl status docker")
        },
        MachineCheck("engine-plugin", "Authorization plugin of the engine") { facts in
            guard facts.engine.fault == nil else { return .unknown("the engine could not be asked") }
            return switch facts.plugin.isActive {
            case true: .ok(facts.plugin.detail)
            case nil: .unknown(facts.plugin.detail.without("unknown: "))
            default:
                facts.leak(
                    "the engine does not ask the authorization plugin, so pulls and pushes are not refused",
                    hint: "run as root: docker ram engine enable --reload"
                )
            }
        },
        MachineCheck("plugin-socket", "Socket of the authorization plugin", asksPrograms: true) { facts in
            let path = facts.paths.pluginSocket
            guard let socket = ClientSocket(connectingTo: path) else {
                let code = errno
                if code == EACCES { return .unknown("only root can ask \"\(path)\"") }
                return facts.leak(
                    "nothing answers on \"\(path)\": \(String(cString: strerror(code)).lowercased())",
                    hint: "run as root: systemctl status docker-ramd docker-ramd-plugin.socket"
                )
            }
            socket.close()
            guard PluginProbe.answers(path) else {
                return .error(
                    "what listens on \"\(path)\" does not answer as an authorization plugin",
                    hint: "run as root: systemctl restart docker-ramd"
                )
            }
            return .ok("it answers")
        },
        MachineCheck("engine-proxy", "Egress proxy of the engine") { facts in
            guard facts.engine.fault == nil else { return .unknown("the engine could not be asked") }
            return switch facts.proxy.isActive {
            case true: .ok(facts.proxy.detail)
            case nil: .unknown(facts.proxy.detail.without("unknown: "))
            default:
                facts.leak(
                    facts.proxy.detail.without("not active: ") + ", so what builds and redirects fetch is not decided",
                    hint: "run as root: docker ram engine enable --restart"
                )
            }
        },
        MachineCheck("engine-no-proxy", "No-proxy list of the engine") { facts in
            guard facts.engine.fault == nil else { return .unknown("the engine could not be asked") }
            let outcomes = NoProxyEntry.list(facts.engine.proxies.noProxy ?? "").filter { !$0.isLoopbackOnly }.map {
                entry in
                let hint = "take it out of the engine's no-proxy list; Go reaches 127.0.0.1 and localhost without it"
                let verdicts = entry.examples.map(facts.policy.verdict(onReaching:))
                // Where the policy allows all of it, only the record is missing.
                return !verdicts.isEmpty && verdicts.allSatisfy { $0.outcome == .allow } || entry.isLocalhost
                    ? Outcome.warning(entry.inWords, hint: hint) : facts.leak(entry.inWords, hint: hint)
            }
            return .all(outcomes, otherwise: .ok("nothing leads past the proxy"))
        },
        MachineCheck("proxy-secret", "Secret of the egress proxy", proxySecret),
        MachineCheck("engine-version", "Known faults of the engine", engineVersion),
        MachineCheck("engine-flags", "Flags of the engine", engineFlags),
        MachineCheck("git-contexts", "Git contexts of builds") { facts in
            guard facts.engine.fault == nil else { return .unknown("the engine could not be asked") }
            guard let version = facts.engine.version.flatMap(EngineRelease.init) else {
                return .unknown("the engine's version is not known")
            }
            // BuildKit tells git its proxy from 0.19 on (moby/buildkit, `util/gitutil/git_cli.go`).
            guard version < EngineRelease(28, 0, 0) else { return .ok("\(facts.engine.name) tells git its proxy") }
            if (try? Lockdown(facts.paths).state())?.isEnabled == true { return .ok("lockdown keeps git in") }
            return .warning(
                "BuildKit of \(facts.engine.name) fetches git contexts past the egress proxy",
                hint: "upgrade the engine to 28.0 or later, or run as root: docker ram engine enable --lockdown"
            )
        },
        MachineCheck("engine-http2", "Builds that the authorization plugin is not asked about") { facts in
            guard facts.engine.fault == nil else { return .unknown("the engine could not be asked") }
            guard let version = facts.engine.version.flatMap(EngineRelease.init) else {
                return .unknown("the engine's version is not known")
            }
            // moby, `daemon/command/httphandler.go`.
            guard version >= EngineRelease(29, 2, 0) else { return .ok("\(facts.engine.name) does not serve HTTP/2") }
            let text = "\(facts.engine.name) takes builds over HTTP/2 without asking its plugins"
            if facts.proxy.isActive == true { return .ok("\(text); the egress proxy decides what they fetch") }
            return facts.leak(text, hint: "run as root: docker ram engine enable --restart")
        },
    ]

    /// Whether what the engine was told is what docker-ramd wants to hear.
    private static func proxySecret(_ facts: MachineFacts) -> Outcome {
        let told: EngineProxySettings
        do {
            let state = try EngineSetup(facts.paths).state()
            let process = facts.process
            // What daemon.json says goes before the environment; the drop-in is for the next start.
            told =
                try state.proxies.isEmpty
                ? process.map { EngineProxySettings(environment: try $0.environment) } ?? state.dropIn ?? state.proxies
                : state.proxies
        } catch {
            let isPermission = (error as? FileError)?.isPermission == true
            return .unknown(isPermission ? "only root can see what the engine was told" : "\(error)")
        }
        let ours = [told.httpProxy, told.httpsProxy].compactMap { $0.map(ProxyURL.init) }
            .filter { $0.leads(to: facts.listen) }
        guard !ours.isEmpty else { return .unknown("the engine was not told docker-ramd's address in its settings") }
        let secret: ProxySecret
        do {
            secret = try ProxySecret(facts.paths)
        } catch {
            guard error.code == EINVAL else {
                return error.isPermission ? .unknown("only root can see the secret") : .unknown("\(error)")
            }
            return .error(
                "\"\(facts.paths.proxySecret)\" holds no secret, or others may read it",
                hint: "remove it, and run as root: docker ram engine enable --restart"
            )
        }
        let expected = Secret("\(ProxySecret.user):\(secret.secret.text)")
        guard ours.allSatisfy({ $0.credentials == expected }) else {
            return .error(
                "the engine was told another secret than docker-ramd has, so docker-ramd serves it nothing",
                hint: "run as root: docker ram engine enable --restart"
            )
        }
        return .ok("the engine knows it")
    }

    /// What the engine is told on its command line, beside the files that `engine enable` writes.
    private static func engineFlags(_ facts: MachineFacts) -> Outcome {
        let process = facts.process
        let daemonConfig = facts.paths.dockerDaemonConfig
        var outcomes = EngineFlag.all(service: EngineService(facts.paths), process: process).map { flag in
            let isSaidTwice = flag.name == EngineFlag.plugin ? facts.told?.plugins.isEmpty : facts.told?.proxies.isEmpty
            let hint = "move what it says to \"\(flag.key)\" in \"\(daemonConfig)\""
            return isSaidTwice == false
                ? Outcome.error(
                    "dockerd gets \(flag.inWords), and does not start when daemon.json says it too",
                    hint: hint
                )
                : .warning("dockerd gets \(flag.inWords), which goes before what docker-ram sets", hint: hint)
        }
        if let file = process?.otherConfig(facts.paths) {
            let text = "dockerd reads \"\(file)\" and not \"\(daemonConfig)\", where docker-ram writes"
            outcomes.append(.warning(text, hint: "start dockerd without --config-file"))
        }
        return .all(outcomes, otherwise: .ok("none goes before daemon.json"))
    }

    private static func engineVersion(_ facts: MachineFacts) -> Outcome {
        guard facts.engine.fault == nil else { return .unknown("the engine could not be asked") }
        guard let text = facts.engine.version, let version = EngineRelease(text) else {
            return .unknown("the engine's version is not known")
        }
        let open = Advisory.all.filter { !$0.isMended(in: version) }
        guard let newest = open.map(\.mendedFrom).max() else { return .ok("\(facts.engine.name) has none") }
        let names = open.map(\.name).joined(separator: " and ")
        if version.isOfDistribution {
            return .unknown("engine \(text) comes from a distribution, which may have mended \(names)")
        }
        return .warning(
            "engine \(text) has \(names): it hides the body of some requests from its plugins. docker-ramd refuses "
                + "what it is not shown, so large requests fail",
            hint: "upgrade the engine to \(newest) or later"
        )
    }
}

extension NoProxyEntry {
    fileprivate var isLocalhost: Bool {
        if case .name("localhost", _, _) = self { true } else { false }
    }
}

extension String {
    fileprivate func without(_ beginning: String) -> String {
        hasPrefix(beginning) ? String(dropFirst(beginning.count)) : self
    }
}
