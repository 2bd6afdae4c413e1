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
        do throws(FileError) {
            let (bytes, status) = try Files.read(path, atMost: RegistryPacks.longestDocument)
            if let fault = try TrustedFile.fault(in: status, of: path, trusting: TrustedFile.owners(under: paths)) {
                return embedded(because: fault)
            }
            return read(bytes, path)
        } catch {
            // Ordinarily there is no such file.
            return embedded(because: error.isNotFound && !Files.isSymbolicLink(path) ? nil : "\(error)")
        }
    }

    private static func read(_ bytes: [UInt8], _ path: String) -> InstalledPacks {
        do throws(InvalidJSON) {
            let packs = try RegistryPacks(json: bytes)
            let own = RegistryPacks.embedded.version
            guard packs.version > own else {
                return embedded(
                    because: "\"\(path)\" has version \(packs.version), which is not newer than version \(own) of this "
                        + "program; remove it"
                )
            }
            return InstalledPacks(packs: packs, path: path, problem: nil)
        } catch {
            return embedded(because: "\"\(path)\": \(error)")
        }
    }

    private static func embedded(because problem: String?) -> InstalledPacks {
        InstalledPacks(packs: .embedded, path: nil, problem: problem)
    }
}
