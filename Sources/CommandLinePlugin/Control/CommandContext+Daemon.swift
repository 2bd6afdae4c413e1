import LocalInstallation
import RegistryAccess

extension CommandContext {
    /// Asks docker-ramd for something that it may refuse.
    ///
    /// - Parameters:
    ///   - request: what to ask.
    ///   - patience: how long nothing may come, in milliseconds.
    ///   - body: gets each line that is no refusal.
    /// - Throws: ``Failure``, also where docker-ramd refuses.
    func askDaemon(_ request: JSONValue, patience: Int32, _ body: (JSONValue) throws -> Void) throws {
        do {
            try ControlClient(path: paths.controlSocket).ask(request, patience: patience) { _, line in
                if let refused = line.value(named: "refused") {
                    let hint = refused.value(named: "hint")?.text
                    throw Failure(
                        refused.value(named: "text")?.text ?? "docker-ramd refuses",
                        hints: hint.map { [$0] } ?? []
                    )
                }
                try body(line)
            }
        } catch let error as ControlClient.Unanswered {
            throw Failure(
                error.description,
                hints: ["run as root: systemctl status docker-ramd docker-ramd-control.socket"]
            )
        }
    }
}
