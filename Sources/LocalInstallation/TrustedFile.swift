import Glibc

/// Who may have written a file that decides something for the whole machine.
enum TrustedFile {
    /// Root; under another root than `/` also the caller, for tests and trial runs.
    static func owners(under paths: InstallationPaths) -> [UInt32] {
        paths.root == "/" ? [0] : [0, geteuid()]
    }

    /// Why somebody else may have written a file or put it in its directory; `nil` if nobody can.
    static func fault(in status: FileStatus, of path: String, trusting owners: [UInt32]) throws(FileError) -> String? {
        let directory = Files.directory(of: path)
        if let fault = fault(in: status, "\"\(path)\"", owners) { return fault }
        return fault(in: try Files.status(directory), "the directory \"\(directory)\"", owners)
    }

    private static func fault(in status: FileStatus, _ name: String, _ owners: [UInt32]) -> String? {
        guard owners.contains(status.owner) else {
            return "\(name) belongs to user \(status.owner) and not to root, so anybody may have written it"
        }
        guard !status.isWritableByOthers else {
            return "\(name) can be written by others than its owner; run: chmod go-w \(name)"
        }
        return nil
    }
}
