import Glibc
public import RegistryAccess

/// The registry packs that are in force on this machine: those of the programs, or a newer document that root put
/// there.
public struct InstalledPacks: Sendable, Hashable {
    /// The packs.
    public let packs: RegistryPacks
    /// The file that they were read from; `nil` for those of the programs.
    public let path: String?
    /// Why the file that is there is not used, if it is not.
    public let problem: String?

    /// Finds the packs of this machine.
    ///
    /// ``InstallationPaths/registryPacks`` must be as hard to write for others as the policy file is, and have a higher
    /// version than the packs of the programs; otherwise those stay in force.
    ///
    /// - Parameter paths: where to look.
    /// - Returns: what is in force, and what is wrong with the file if something is.
    public static func load(_ paths: InstallationPaths) -> InstalledPacks {
        let path = paths.registryPacks
        let embedded = RegistryPacks.embedded
        do {
            let (bytes, status) = try Files.read(path, atMost: RegistryPacks.longestDocument)
            if let fault = try TrustedFile.fault(in: status, of: path, trusting: TrustedFile.owners(under: paths)) {
                return InstalledPacks(packs: embedded, path: nil, problem: fault)
            }
            let packs = try RegistryPacks(json: bytes)
            guard packs.version > embedded.version else {
                let problem =
                    "\"\(path)\" has version \(packs.version), which is not newer than version \(embedded.version) "
                    + "of this program; remove it"
                return InstalledPacks(packs: embedded, path: nil, problem: problem)
            }
            return InstalledPacks(packs: packs, path: path, problem: nil)
        } catch let error as FileError {
            let isMissing = error.isNotFound && !Files.isSymbolicLink(path)
            return InstalledPacks(packs: embedded, path: nil, problem: isMissing ? nil : "\(error)")
        } catch {
            return InstalledPacks(packs: embedded, path: nil, problem: "\"\(path)\": \(error)")
        }
    }
}
