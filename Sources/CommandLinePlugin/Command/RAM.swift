import ArgumentParser

/// All commands; every one lives in a file of its own.
struct RAM: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ram",
        abstract: "Registry Access Management: which registries your organization allows",
        subcommands: [
            Status.self, Check.self, Request.self, Login.self, Logout.self, Enroll.self, Doctor.self, Log.self,
            Setup.self, Version.self, PolicyCommands.self, EngineCommands.self, AdminCommands.self,
        ]
    )
}

/// `docker ram policy`.
struct PolicyCommands: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "policy",
        abstract: "Look at policies",
        subcommands: [
            PolicyShow.self, PolicyValidate.self, PolicyDiff.self, PolicyImport.self, PolicyExport.self,
        ]
    )
}

/// `docker ram engine`.
struct EngineCommands: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "engine",
        abstract: "Have this machine's engine enforce the policy",
        subcommands: [
            EngineEnable.self, EngineDisable.self, EngineStatus.self, EngineBuilder.self, EngineLockdown.self,
        ]
    )
}

/// `docker ram engine lockdown`.
struct EngineLockdown: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lockdown",
        abstract: "Let the engine connect to the egress proxy only",
        subcommands: [EngineLockdownEnable.self, EngineLockdownDisable.self, EngineLockdownStatus.self]
    )
}
