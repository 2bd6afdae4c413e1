import Glibc
import LocalInstallation
import RegistryAccess

extension Files {
    /// Reads a file that somebody names on the command line, or a pipe to its end.
    ///
    /// - Parameters:
    ///   - file: the file.
    ///   - limit: the longest that is read, whole MiB.
    /// - Returns: the content.
    /// - Throws: ``Failure`` if it is longer, and ``FileError``.
    static func read(named file: String, atMost limit: Int) throws -> [UInt8] {
        do throws(FileError) {
            return try read(file, atMost: limit, isPipeRead: true).bytes
        } catch {
            guard error.code == EFBIG else { throw error }
            throw Failure("cannot read \"\(file)\": it is longer than \(limit >> 20) MiB")
        }
    }
}

extension AccessPolicy {
    /// The policy in a file that somebody names.
    ///
    /// - Parameters:
    ///   - file: the file.
    ///   - context: where all its faults are listed if it is none.
    /// - Throws: ``Failure`` if it is none, and ``FileError``.
    init(file: String, in context: CommandContext) throws {
        let bytes = try Files.read(named: file, atMost: AccessPolicy.longestDocument)
        do throws(InvalidPolicy) {
            try self.init(json: bytes)
        } catch {
            let faults = error.all(in: bytes)
            context.list(faults, in: file)
            throw Failure("\"\(file)\" is not a policy: \(faults.countInWords)")
        }
    }

    /// The policy in force on this machine.
    ///
    /// - Parameter context: what the command knows of the machine.
    /// - Throws: ``Failure`` if there is none.
    init(inForceIn context: CommandContext) throws {
        let inForce = context.policyInForce
        guard let policy = inForce.policy else {
            throw Failure(inForce.problem ?? "this machine has no policy", hints: ["name a policy file"])
        }
        self = policy
    }
}

extension DockerRegistryAccess {
    /// Docker's own settings in a file that somebody names.
    ///
    /// - Parameters:
    ///   - file: the file.
    ///   - context: where all its faults are listed if they are none.
    /// - Throws: ``Failure`` if they are none, and ``FileError``.
    init(file: String, in context: CommandContext) throws {
        let bytes = try Files.read(named: file, atMost: Self.longestDocument)
        do throws(InvalidDockerDocument) {
            try self.init(json: bytes)
        } catch {
            context.list(error.faults, in: file)
            throw Failure("\"\(file)\" cannot be imported: \(error.faults.countInWords)")
        }
    }
}

extension CommandContext {
    /// Shows what Docker's own service can hold of a policy, and says what is lost.
    func showInDockersForm(_ policy: AccessPolicy) {
        let (document, losses) = DockerRegistryAccess.export(policy)
        output.line(TerminalText.escaped(json: document.text(indentation: "  ")))
        for loss in losses { note("note: \(loss)") }
    }
}
