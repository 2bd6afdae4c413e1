import Foundation
import GRDB
import Glibc

/// The directory that holds everything of a server; it is its owner's alone.
struct DataDirectory: Sendable {
    /// Where it is.
    let path: String

    /// Something is wrong with the directory or a file in it.
    struct Fault: Error, CustomStringConvertible {
        /// What, and what to do.
        let description: String
    }

    /// The database.
    var database: String { "\(path)/server.sqlite" }
    /// The settings.
    var settings: String { "\(path)/server.json" }
    /// The signing keys, a folder for each organization.
    var keys: String { "\(path)/keys" }
    private var lock: String { "\(path)/lock" }

    /// Makes the directory, or takes one that is there and empty.
    ///
    /// - Throws: ``Fault`` if there is something in it.
    func create() throws(Fault) {
        if mkdir(path, 0o700) != 0 {
            guard errno == EEXIST else { throw Self.fault("cannot make the directory", path) }
            try checkOwner()
            let content = try? FileManager.default.contentsOfDirectory(atPath: path)
            guard let content else { throw Fault(description: "cannot read the directory \"\(path)\"") }
            guard content.isEmpty else {
                throw Fault(description: "\"\(path)\" is not empty; give a new directory, or remove what is in it")
            }
            guard chmod(path, 0o700) == 0 else { throw Self.fault("cannot close to others the directory", path) }
        }
    }

    /// Whether nothing was ever made in it: it is not there, or there is nothing in it.
    var isUnused: Bool {
        guard FileManager.default.fileExists(atPath: path) else { return true }
        return (try? FileManager.default.contentsOfDirectory(atPath: path).isEmpty) ?? false
    }

    /// Makes a server without an organization, in a directory that was just made.
    ///
    /// - Parameter settings: its settings, which come last: without them it is no server.
    /// - Throws: ``Fault``, or what SQLite says; there is nothing in the directory then.
    func begin(_ settings: ServerSettings) throws {
        do {
            try Store(path: database).database.close()
            try Self.write(settings.json, to: self.settings)
        } catch {
            try? empty()
            throw error
        }
    }

    /// Whether it holds no signing key; where there is one, there was an organization.
    ///
    /// - Returns: whether it is so.
    /// - Throws: ``ServerFileError``.
    func isWithoutKeys() throws(ServerFileError) -> Bool { try ServerFile.names(in: keys).isEmpty }

    /// Takes away all that is in it.
    ///
    /// - Throws: what the file system says.
    func empty() throws {
        for name in try FileManager.default.contentsOfDirectory(atPath: path) {
            try FileManager.default.removeItem(atPath: "\(path)/\(name)")
        }
    }

    /// Insists on a directory that a server was made in, and that others cannot look into.
    ///
    /// - Throws: ``Fault``.
    func check() throws(Fault) {
        guard FileManager.default.fileExists(atPath: database) else {
            throw Fault(
                description: "there is no server in \"\(path)\"; make one with docker-ram-server init, "
                    + "or in a browser: serve --public-url URL"
            )
        }
        // SQLite would take it for a database in which there is nothing yet.
        guard try databaseSize() > 0 else { throw Fault(description: damaged("is empty")) }
        let mode = try? FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
        guard let mode, mode & 0o077 == 0 else {
            throw Fault(description: "others can look into \"\(path)\"; chmod 700 it")
        }
    }

    /// How long the file of the database is, in bytes.
    ///
    /// - Returns: the length.
    /// - Throws: ``Fault``; also if it is no file.
    func databaseSize() throws(Fault) -> Int {
        let file = (database as NSString).resolvingSymlinksInPath
        guard let attributes = try? FileManager.default.attributesOfItem(atPath: file),
            let size = attributes[.size] as? Int
        else { throw Fault(description: "cannot look at \"\(database)\"") }
        guard attributes[.type] as? FileAttributeType == .typeRegular else {
            throw Fault(description: damaged("is no file"))
        }
        return size
    }

    /// Says that the database is not one any more.
    ///
    /// - Parameter words: what it is.
    /// - Returns: a sentence that says what to do, too.
    func damaged(_ words: String) -> String {
        "\"\(database)\" \(words); restore a copy: docker-ram-server restore --data \(path) FILE"
    }

    /// Keeps others from serving, restoring or making the same directory, for as long as the process lives.
    ///
    /// - Throws: ``Fault`` if another has it, or the directory is another's.
    func takeLock() throws(Fault) {
        try checkOwner()
        let file = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw Self.fault("cannot open", lock) }
        guard flock(file, LOCK_EX | LOCK_NB) == 0 else {
            close(file)
            throw Fault(description: "another docker-ram-server works in \"\(path)\"; stop it first")
        }
    }

    /// Insists on being the owner: what root makes in the directory of the service's account, that account cannot read.
    ///
    /// - Throws: ``Fault``.
    func checkOwner() throws(Fault) {
        let place = URL(fileURLWithPath: path).resolvingSymlinksInPath().path
        let attributes = try? FileManager.default.attributesOfItem(atPath: place)
        guard let attributes, let user = attributes[.ownerAccountID] as? NSNumber else {
            throw Self.fault("cannot look at", path)
        }
        guard user.uint32Value != geteuid() else { return }
        let owner = attributes[.ownerAccountName] as? String ?? "#\(user)"
        throw Fault(
            description: "\"\(path)\" belongs to \(owner); run this as its owner: "
                + "sudo -u '\(owner)' docker-ram-server ..."
        )
    }

    /// Writes a file that only its owner can read: beside its place first, so that it is there whole or not at all.
    ///
    /// - Parameters:
    ///   - text: what is in it.
    ///   - file: where it comes to.
    /// - Throws: ``Fault``.
    static func write(_ text: String, to file: String) throws(Fault) {
        let beside = "\(file).new"
        unlink(beside)
        let descriptor = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw fault("cannot write", beside) }
        defer { close(descriptor) }
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            guard written > 0 || errno == EINTR else { throw fault("cannot write", beside) }
            rest = rest.dropFirst(max(0, written))
        }
        guard fsync(descriptor) == 0 else { throw fault("cannot write", beside) }
        try move(beside, to: file)
    }

    /// Moves a file in its directory, and makes that last.
    ///
    /// - Parameters:
    ///   - file: what is moved.
    ///   - place: where to; what is there goes.
    /// - Throws: ``Fault``.
    static func move(_ file: String, to place: String) throws(Fault) {
        guard rename(file, place) == 0 else { throw fault("cannot put in its place", place) }
        let directory = open((place as NSString).deletingLastPathComponent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if directory >= 0 {
            fsync(directory)
            close(directory)
        }
    }

    /// The settings of the server.
    ///
    /// - Returns: what the file says.
    /// - Throws: ``Fault`` with the place of a mistake.
    func readSettings() throws(Fault) -> ServerSettings {
        guard let bytes = FileManager.default.contents(atPath: settings) else {
            throw Fault(description: "cannot read \"\(settings)\"")
        }
        do {
            return try ServerSettings(json: Array(bytes))
        } catch {
            throw Fault(description: "\"\(settings)\": \(error)")
        }
    }

    private static func fault(_ what: String, _ path: String) -> Fault {
        Fault(description: "\(what) \"\(path)\": \(String(cString: strerror(errno)))")
    }
}
