import RegistryAccess
import ArgumentParser
import Foundation
import Glibc
import SignedPolicy

/// Which server a command is about.
struct DataOption: ParsableArguments {
    @Option(help: ArgumentHelp("The directory that holds everything of the server.", valueName: "directory"))
    var data: String

    /// The directory.
    var directory: DataDirectory { DataDirectory(path: data) }

    func validate() throws {
        guard data.hasPrefix("/") else { throw ValidationError("--data must be an absolute path") }
    }
}

extension AsyncParsableCommand {
    /// Runs a body; an error of its becomes a line on standard error and status 1.
    func reporting<Result>(_ body: () async throws -> Result) async throws -> Result {
        // What the server writes is its owner's alone, also what SQLite makes beside its file.
        umask(0o077)
        do {
            return try await body()
        } catch let error where !(error is ExitCode) && !(error is ValidationError) {
            FileHandle.standardError.write(Data("docker-ram-server: error: \(error)\n".utf8))
            throw ExitCode.failure
        }
    }
}

extension Instant {
    /// The time by the system's clock.
    static var now: Instant { Instant(seconds: Int64(time(nil))) }
}
