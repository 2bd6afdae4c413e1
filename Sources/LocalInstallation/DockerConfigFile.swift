import RegistryAccess

/// The Docker command line's own settings of one person: `config.json`.
///
/// The keys are docker/cli's (`cli/config/configfile/file.go`).
public struct DockerConfigFile: Sendable {
    /// The file as it was read.
    public let file: SharedFile
    /// What it holds.
    public let document: JSONFileEdit

    /// What Docker indents this file with.
    static let indentation = "\t"

    /// Reads the file.
    ///
    /// - Parameter directory: Docker's configuration directory; without a file there, the settings are empty.
    /// - Throws: ``FileError`` if it cannot be read, ``UnusableFile`` if it is not a JSON object.
    public init(directory: String) throws {
        file = try SharedFile("\(directory)/config.json")
        document = try UnusableFile.read(file, indentation: Self.indentation)
    }

    /// The directory that Docker's command line reads its settings from (`cli/config/config.go`).
    ///
    /// - Parameter environment: the environment of the process.
    /// - Returns: `DOCKER_CONFIG`, or `.docker` in the home directory, or `nil` if there is neither.
    public static func directory(environment: [String: String]) -> String? {
        if let directory = environment["DOCKER_CONFIG"], !directory.isEmpty { return directory }
        guard let home = environment["HOME"], !home.isEmpty else { return nil }
        return home.hasSuffix("/") ? "\(home).docker" : "\(home)/.docker"
    }

    /// The helper that keeps credentials unless another is named for the registry; `nil` means the file itself.
    public var credentialStore: String? {
        guard let name = document.value(at: ["credsStore"])?.text, !name.isEmpty else { return nil }
        return name
    }

    /// The helpers of single registries, which Docker prefers to ``credentialStore``.
    public var credentialHelpers: [(registry: String, helper: String)] {
        (document.value(at: ["credHelpers"])?.members ?? []).compactMap { member in
            member.value.text.map { (member.name, $0) }
        }
    }

    /// The registries whose credentials stand in the file in plain text.
    public var plainCredentials: [PlainCredential] {
        (document.value(at: ["auths"])?.members ?? []).compactMap { member in
            PlainCredential(registry: member.name, entry: member.value)
        }
    }

    /// The name in `credHelpers` for an entry of `auths`: the host, but Docker Hub's whole address (docker/cli,
    /// `cli/config/credentials/file_store.go`, `ConvertToHostname`).
    static func helperName(for entry: String) -> String {
        if entry == "https://index.docker.io/v1/" { return entry }
        let schemes = ["http://", "https://"]
        let rest = schemes.first(where: entry.hasPrefix).map { entry.dropFirst($0.count) } ?? entry[...]
        return String(rest.prefix { $0 != "/" })
    }

    /// The helper that Docker asks for an entry of `auths`; `nil` means that it reads the file.
    func helper(for registry: String) -> String? {
        let name = Self.helperName(for: registry)
        if let own = credentialHelpers.first(where: { $0.registry.utf8.elementsEqual(name.utf8) }) {
            return own.helper.isEmpty ? nil : own.helper
        }
        return credentialStore
    }
}

/// Credentials of one registry as they stand in `config.json`: encoded, but readable for everybody who has the file.
public struct PlainCredential: Sendable, Equatable {
    /// The key of the entry, for example `https://index.docker.io/v1/`.
    public let registry: String
    /// The user, or `<token>` for an identity token.
    public let username: String
    /// The password or token.
    public let secret: Secret
    /// The keys of the entry that hold the secret or belong to it.
    let fields: [String]
    /// The key whose value is the secret.
    let secretField: String

    /// Docker's own mark for an identity token in the place of a user (`cli/config/credentials/native_store.go`).
    static let tokenUsername = "<token>"

    /// Why an entry cannot be moved.
    public enum Obstacle: String, Sendable {
        /// Docker cannot read it either.
        case unreadable = "its \"auth\" is not a base64 text of the form user:password"
        /// A helper keeps one secret for a registry.
        case twoSecrets = "it holds more than one secret, and a store keeps only one"
        /// Helpers do not keep bearer tokens.
        case registryToken = "it holds a registry token, which no store keeps"
    }

    /// Reads an entry.
    ///
    /// - Returns: `nil` if the entry holds no secret, or one that cannot be moved.
    init?(registry: String, entry: JSONValue) {
        guard Self.obstacle(in: entry) == nil else { return nil }
        let auth = Self.decodedAuth(entry)
        self.registry = registry
        if let token = Self.text("identitytoken", in: entry) {
            username = Self.tokenUsername
            secret = Secret(token)
            secretField = "identitytoken"
            // The user beside a token is no secret, but the file store's form of it must go too.
            fields = ["auth", "username", "identitytoken"]
            return
        }
        if let auth, !auth.password.isEmpty {
            username = auth.username
            secret = Secret(auth.password)
            secretField = "auth"
            fields = ["auth", "username", "password"]
            return
        }
        guard let password = Self.text("password", in: entry), let username = Self.text("username", in: entry) else {
            return nil
        }
        self.username = username
        secret = Secret(password)
        secretField = "password"
        fields = ["auth", "username", "password"]
    }

    /// Why the secret of an entry cannot be moved to a store, if it has one that cannot.
    static func obstacle(in entry: JSONValue) -> Obstacle? {
        if text("registrytoken", in: entry) != nil { return .registryToken }
        let auth = text("auth", in: entry)
        let decoded = decodedAuth(entry)
        if auth != nil, decoded == nil { return .unreadable }
        let secrets = [
            decoded.flatMap { $0.password.isEmpty ? nil : $0.password },
            text("password", in: entry),
            text("identitytoken", in: entry),
        ]
        return secrets.compactMap(\.self).count > 1 ? .twoSecrets : nil
    }

    /// The keys of an entry whose values are secrets.
    static func secretFields(in entry: JSONValue) -> [String] {
        (entry.members ?? []).map(\.name).filter { name in
            guard let text = entry.value(named: name)?.text, !text.isEmpty else { return false }
            switch name.lowercased() {
            case "password", "identitytoken", "registrytoken": return true
            // Beside a token it holds the user only.
            case "auth": return decodedAuth(.object([JSONMember("auth", .string(text))]))?.password.isEmpty != true
            default: return false
            }
        }
    }

    private static func text(_ name: String, in entry: JSONValue) -> String? {
        guard let text = entry.value(foldedName: name)?.text, !text.isEmpty else { return nil }
        return text
    }

    /// docker/cli's `decodeAuth`: base64 of user, colon and password, whose NULs at both ends go.
    private static func decodedAuth(_ entry: JSONValue) -> (username: String, password: String)? {
        guard let auth = text("auth", in: entry), let decoded = Base64.decode(Array(auth.utf8)),
            let text = String(validating: decoded, as: UTF8.self), let colon = text.firstIndex(of: ":"),
            colon != text.startIndex
        else { return nil }
        var password = text[text.index(after: colon)...].unicodeScalars[...]
        while password.first == "\0" { password.removeFirst() }
        while password.last == "\0" { password.removeLast() }
        return (String(text[..<colon]), String(password))
    }

    /// The value of ``secretField`` for a user and a secret that a store gave back.
    static func value(of field: String, username: String, secret: Secret) -> String {
        field == "auth" ? StrictBase64.encode(Array("\(username):\(secret.text)".utf8)) : secret.text
    }
}

/// A text that never shows in a message.
public struct Secret: Sendable, Hashable, CustomStringConvertible, CustomDebugStringConvertible {
    /// The text itself.
    public let text: String

    /// A secret.
    ///
    /// - Parameter text: the text itself.
    public init(_ text: String) {
        self.text = text
    }

    /// Not the text.
    public var description: String { "<redacted>" }
    /// Not the text.
    public var debugDescription: String { "<redacted>" }
}

/// A file of Docker's that we leave alone because it is not what it should be.
public struct UnusableFile: Error, Sendable, CustomStringConvertible {
    /// The file.
    public let path: String
    /// What is wrong with it.
    public let reason: String

    /// The file and what is wrong with it.
    public var description: String { "\"\(path)\" is left untouched: \(reason)" }

    static func read(_ file: SharedFile, indentation: String) throws(UnusableFile) -> JSONFileEdit {
        let document: JSONFileEdit
        do throws(InvalidJSON) {
            document = try JSONFileEdit(file.bytes ?? [], indentation: indentation)
        } catch {
            throw UnusableFile(path: file.path, reason: "it is not valid JSON: \(error)")
        }
        guard document.value.members != nil else {
            throw UnusableFile(path: file.path, reason: "it is JSON, but not an object")
        }
        return document
    }
}

/// RFC 4648 base64 with padding, as Go's `base64.StdEncoding` reads it.
package enum Base64 {
    /// Reads a text; `nil` if it is none.
    package static func decode(_ text: [UInt8]) -> [UInt8]? {
        // Go skips line ends anywhere.
        StrictBase64.decode(text.filter { $0 != 0x0A && $0 != 0x0D }, acceptsStrayBits: true)
    }
}
