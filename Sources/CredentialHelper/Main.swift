import LocalInstallation

/// docker-credential-ram: see ``CredentialCommand``.
@main
struct Main {
    static func main() {
        let environment = ProcessEnvironment.current
        let command = CredentialCommand(
            policy: { PolicyInForce.load(InstallationPaths(environment: environment.variables)) },
            environment: environment
        )
        command.run(Array(CommandLine.arguments.dropFirst()), input: .standardInput).write()
    }
}
