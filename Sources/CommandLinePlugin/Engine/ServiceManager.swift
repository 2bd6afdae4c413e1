import Glibc
import LocalInstallation

/// systemd, where it runs this machine.
struct ServiceManager {
    private let systemctl: String
    private let environment: [String: String]

    /// How long stopping and starting Docker may take: its containers get time to end.
    private static let patience = 300_000

    /// `nil` where systemd does not run (sd_booted(3)), or not this machine.
    init?(_ context: CommandContext) {
        guard (try? Files.status("\(context.paths.prefix)/run/systemd/system").isDirectory) == true,
            let path = ChildProcess.find("systemctl", environment: context.environment)
        else { return nil }
        systemctl = path
        environment = context.environment
    }

    /// Has systemd do something.
    ///
    /// - Throws: ``Failure`` with what systemd says.
    func run(_ arguments: String...) throws {
        let words = "systemctl \(arguments.joined(separator: " "))"
        let result: ChildProcess.Result
        do throws(ChildProcess.Trouble) {
            result = try ChildProcess(path: systemctl, arguments: arguments, environment: environment)
                .run(within: Self.patience)
        } catch {
            throw Failure("\"\(words)\" did not end within five minutes, or could not be started")
        }
        guard result.exitCode == 0 else {
            let said = result.errorWords.split(whereSeparator: \.isNewline).first.map { ": \($0)" } ?? ""
            throw Failure("\"\(words)\" failed\(said)", hints: ["run: systemctl status docker"])
        }
    }
}
