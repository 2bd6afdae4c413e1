import LocalInstallation
import RegistryAccess

/// Where the engine finds the egress proxy.
struct EgressProxyAddress {
    /// An IP address and a port.
    let text: String

    /// Asks docker-ramd where it listens, which systemd may have decided; else what its settings say counts.
    ///
    /// docker-ramd is asked over its own socket before anything is sent to the port: there, another program that took
    /// the port could learn the secret.
    ///
    /// - Parameters:
    ///   - context: the machine.
    ///   - settings: the settings of docker-ramd.
    ///   - isChecked: whether docker-ramd has to answer.
    /// - Throws: ``Failure`` if it has to and does not, or does not listen.
    init(_ context: CommandContext, settings: DaemonSettings, isChecked: Bool) throws {
        let status: JSONValue?
        do {
            status = try ControlClient(path: context.paths.controlSocket).status().value(named: "egressProxy")
        } catch {
            guard !isChecked else {
                throw Failure(
                    "\(error); nothing was changed",
                    hints: [
                        "start docker-ramd first: an engine whose proxy is missing reaches no registry",
                        "for an image, or where docker-ramd starts later: --no-check",
                    ]
                )
            }
            status = nil
        }
        let listening = status?.value(named: "address")?.text
        guard listening != nil || !isChecked else {
            let problem = status?.value(named: "problem")?.text ?? "docker-ramd is older than this command"
            throw Failure(
                "the egress proxy does not listen: \(problem); nothing was changed",
                hints: ["run: systemctl status docker-ramd docker-ramd-proxy.socket"]
            )
        }
        let (host, port) = DaemonSettings.EgressProxy.reached(listening: listening ?? settings.egressProxy.listen)
        guard port != "0" else {
            throw Failure(
                "the egress proxy listens on any free port, and the engine has to know which; nothing was changed",
                hints: ["set \"egressProxy\": {\"listen\": \"127.0.0.1:7260\"}"]
            )
        }
        text = "\(host):\(port)"
    }

    /// Insists that our proxy answers there and knows the secret.
    func check(_ secret: ProxySecret) throws {
        let fault: String
        switch EgressProxyProbe(at: text, secret: secret) {
        case .answers: return
        case .wrongSecret: fault = "the egress proxy at \(text) has another secret; restart docker-ramd"
        case .stranger: fault = "what answers at \(text) is not the egress proxy"
        case .silence: fault = "the egress proxy does not answer at \(text)"
        }
        throw Failure(
            "\(fault); nothing was changed",
            hints: [
                "an engine whose proxy is missing reaches no registry; run: systemctl status docker-ramd docker-ramd-proxy.socket"
            ]
        )
    }
}
