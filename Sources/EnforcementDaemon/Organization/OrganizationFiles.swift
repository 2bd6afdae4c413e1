import Glibc
import LocalInstallation
import OrganizationClient
import RegistryAccess
import SignedPolicy

/// What docker-ramd keeps of an organization, in a directory of its own.
///
/// Each file is replaced whole. The documents are written first, then the marks, and only then others are told what is in
/// force: whoever is killed in between finds documents that are as new as the marks or newer, and the policy that the
/// freshness document names, because that of before goes last.
struct OrganizationFiles: Hashable, Sendable {
    /// The directory.
    let directory: String

    init(_ paths: InstallationPaths) {
        directory = paths.organizationDirectory
    }

    /// One of the files that there is one of.
    enum Name: String {
        case freshness = "freshness.json"
        case ticket = "ticket.json"
        case marks = "marks.json"
        case clock = "clock.json"
        case device = "device.json"
        case session = "session.json"
        case uses = "uses.json"
    }

    /// Makes the directory, if it is not there.
    func prepare() throws(FileError) {
        try Files.makeDirectory(Files.directory(of: directory))
        try Files.makeDirectory(directory, mode: 0o700)
    }

    /// Forgets everything: what was kept is of another organization.
    func clear() {
        Self.removeFiles(in: reports)
        Self.removeFiles(in: directory)
    }

    /// Removes what somebody who was killed has left of a file that they were writing.
    func removeHalves() {
        for directory in [directory, Files.directory(of: directory)] {
            for name in (try? Files.names(in: directory)) ?? [] {
                guard let dot = name.lastIndex(of: "."), name[..<dot].hasSuffix(".json"),
                    UInt64(name[name.index(after: dot)...]) != nil
                else { continue }
                unlink("\(directory)/\(name)")
            }
        }
    }

    /// Where reports wait for the server.
    var reports: String { "\(directory)/reports" }

    /// Removes the files of a directory, and no directory in it.
    static func removeFiles(in directory: String) {
        for name in (try? Files.names(in: directory)) ?? [] { unlink("\(directory)/\(name)") }
    }

    // MARK: - Files

    /// The content of a file; `nil` if it is not there.
    func read(_ name: Name) throws(FileError) -> [UInt8]? {
        do throws(FileError) {
            return try Files.read("\(directory)/\(name.rawValue)", atMost: 1 << 20).bytes
        } catch {
            guard error.isNotFound else { throw error }
            return nil
        }
    }

    func write(_ bytes: [UInt8], _ name: Name) throws(FileError) {
        try write(bytes, to: name.rawValue)
    }

    func write(_ text: String, _ name: Name) throws(FileError) {
        try write(Array(text.utf8), to: name.rawValue)
    }

    func remove(_ name: Name) {
        unlink("\(directory)/\(name.rawValue)")
    }

    private func write(_ bytes: [UInt8], to name: String) throws(FileError) {
        try Files.replace("\(directory)/\(name)", with: bytes, mode: 0o600)
    }

    // MARK: - Documents of which there are versions

    /// The root documents, the oldest first.
    func roots() throws(FileError) -> [[UInt8]] {
        try versions(of: "root").map { (version) throws(FileError) in try content(of: "root", version) }
    }

    /// The policies, the newest first: one, and for a moment two.
    func policies() throws(FileError) -> [[UInt8]] {
        try versions(of: "policy").reversed().map { (version) throws(FileError) in
            try content(of: "policy", version)
        }
    }

    func write(root: [UInt8], version: Int) throws(FileError) {
        try write(root, to: "root-\(version).json")
    }

    func write(policy: [UInt8], version: Int) throws(FileError) {
        try write(policy, to: "policy-\(version).json")
    }

    /// Removes the policies of other versions.
    func keepPolicy(_ version: Int) {
        for other in (try? versions(of: "policy")) ?? [] where other != version {
            unlink("\(directory)/policy-\(other).json")
        }
    }

    private func content(of kind: String, _ version: Int) throws(FileError) -> [UInt8] {
        try Files.read("\(directory)/\(kind)-\(version).json", atMost: DocumentKind.policy.longest).bytes
    }

    private func versions(of kind: String) throws(FileError) -> [Int] {
        do throws(FileError) {
            return try Files.names(in: directory).compactMap { name in
                guard name.hasPrefix("\(kind)-"), name.hasSuffix(".json") else { return nil }
                return Int(name.dropFirst(kind.count + 1).dropLast(5))
            }.sorted()
        } catch {
            guard error.isNotFound else { throw error }
            return []
        }
    }

    // MARK: - Who we are and who is signed in

    /// This machine as the server knows it.
    var device: OrganizationClient.Device? {
        get throws {
            guard let texts = try texts(in: .device, ["device", "secret"]), let id = texts["device"],
                let secret = texts["secret"]
            else { return nil }
            return OrganizationClient.Device(id: id, secret: Token(secret))
        }
    }

    func write(_ device: OrganizationClient.Device) throws(FileError) {
        try prepare()
        let members = [JSONMember("device", .string(device.id)), JSONMember("secret", .string(device.secret.text))]
        try write(JSONValue.object(members).text(), .device)
    }

    /// By what somebody stays signed in.
    struct Session: Hashable, Sendable {
        /// Who.
        var user: String
        /// Good once.
        var refreshToken: Token
        /// The user of this machine who has signed in.
        var localUser: uid_t
    }

    /// Who is signed in.
    var session: Session? {
        get throws {
            guard let texts = try texts(in: .session, ["user", "refreshToken", "localUser"]),
                let user = texts["user"], let token = texts["refreshToken"],
                let localUser = texts["localUser"].flatMap({ uid_t($0) })
            else { return nil }
            return Session(user: user, refreshToken: Token(token), localUser: localUser)
        }
    }

    func write(_ session: Session) throws(FileError) {
        let members = [
            JSONMember("user", .string(session.user)),
            JSONMember("refreshToken", .string(session.refreshToken.text)),
            JSONMember("localUser", .string("\(session.localUser)")),
        ]
        try write(JSONValue.object(members).text(), .session)
    }

    private func texts(in name: Name, _ keys: [String]) throws -> [String: String]? {
        guard let bytes = try read(name) else { return nil }
        var texts: [String: String] = [:]
        var scanner = JSONScanner(bytes, limits: StrictJSON.Limits(bytes: 1 << 20, depth: 2))
        try scanner.object(of: keys) { (key, scanner) throws(InvalidJSON) in texts[key] = try scanner.string() }
        try scanner.end()
        return texts
    }
}
