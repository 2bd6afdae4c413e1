import Glibc
import LocalInstallation
import RegistryAccess

/// docker-credential-ram: see ``CredentialCommand``.
@main
struct Main {
    static func main() {
        // Secrets pass through the memory of this process.
        var none = rlimit(rlim_cur: 0, rlim_max: 0)
        setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &none)
        let environment = ProcessEnvironment.current
        let paths = InstallationPaths(environment: environment.variables)
        let command = CredentialCommand(
            policy: { PolicyInForce.load(paths, packs: .empty) },
            environment: environment,
            record: DecisionNotice(socketPath: paths.controlSocket),
            signIn: OrganizationSignIn(
                enrollment: { Enrollment.read(paths).enrollment },
                socketPath: paths.controlSocket
            )
        )
        command.run(Array(CommandLine.arguments.dropFirst()), input: .standardInput).write()
    }
}
