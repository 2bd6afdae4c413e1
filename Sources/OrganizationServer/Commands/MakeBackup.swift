import RegistryAccess
import ArgumentParser

/// `docker-ram-server backup`.
struct MakeBackup: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup",
        abstract: "Copy the database of a server, also while it runs.",
        discussion: "The signing keys are not in it: keep a copy of the folder \"keys\" of the data directory apart."
    )

    @OptionGroup var data: DataOption

    @Argument(help: "Where the copy comes to; there must be no such file.")
    var file: String

    func run() async throws {
        try await reporting {
            try data.directory.check()
            try Backup.make(of: data.directory, to: file)
            print("wrote \(file)")
        }
    }
}

/// `docker-ram-server restore`.
struct Restore: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Put a copy in the place of the database of a server that does not run.",
        discussion: "Everybody has to sign in again: the copy may hold sessions that were ended after it was made."
    )

    @OptionGroup var data: DataOption

    @Argument(help: "The copy.")
    var file: String

    func run() async throws {
        try await reporting {
            let kept = try Backup.restore(file, in: data.directory, at: .now)
            print("restored \(file)\(kept.map { "; what was there is now \($0)" } ?? "")")
        }
    }
}
