import ArgumentParser

/// `docker-ram-server`: the server of organizations.
@main
struct Main: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "docker-ram-server",
        abstract: "The server that organizations keep their registry policy on.",
        subcommands: [
            Init.self, OrganizationCommands.self, Trust.self, Serve.self, Publish.self, SetPassword.self,
            MakeBackup.self, Restore.self, Verify.self,
        ]
    )
}
