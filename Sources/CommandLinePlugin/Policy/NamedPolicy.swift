import LocalInstallation
import RegistryAccess

extension AccessPolicy {
    /// The policy in a file that somebody names.
    ///
    /// - Parameters:
    ///   - file: the file.
    ///   - context: where all its faults are listed if it is none.
    /// - Throws: ``Failure`` if it is none, and ``FileError``.
    init(file: String, in context: CommandContext) throws {
        let bytes = try Files.read(file, atMost: AccessPolicy.longestDocument).bytes
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
