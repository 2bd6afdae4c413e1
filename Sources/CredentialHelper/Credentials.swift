import RegistryAccess

/// One user's credentials for one server.
struct Credentials: Equatable, Sendable {
    /// The key that Docker keeps them under, for example `https://index.docker.io/v1/` or `ghcr.io`.
    var serverURL: String
    /// The user; `<token>` if the secret is an identity token.
    var username: String
    /// The password or token.
    var secret: Secret

    init(serverURL: String, username: String, secret: Secret) {
        self.serverURL = serverURL
        self.username = username
        self.secret = secret
    }

    /// Reads what `store` gets on its input, with keys in any case, as Go reads them.
    ///
    /// - Parameter json: the input.
    /// - Throws: ``Refused`` with the text for the client.
    init(json: [UInt8]) throws(InvalidCredentials) {
        let document: JSONValue
        do throws(InvalidJSON) {
            document = try StrictJSON.parse(json)
        } catch {
            throw .json("\(error)")
        }
        guard document.members != nil else { throw .json("expected an object") }
        serverURL = try Self.text(document, "ServerURL")
        username = try Self.text(document, "Username")
        secret = Secret(Array(try Self.text(document, "Secret").utf8))
        guard !serverURL.isEmpty else { throw .missingServerURL }
        guard !username.isEmpty else { throw .missingUsername }
        // The Secret Service keeps these as C strings; half of a name would be another name.
        guard !serverURL.utf8.contains(0) else { throw .zeroByte("ServerURL") }
        guard !username.utf8.contains(0) else { throw .zeroByte("Username") }
    }

    private static func text(_ document: JSONValue, _ name: String) throws(InvalidCredentials) -> String {
        switch document.value(foldedName: name) {
        case .string(let text): return text
        case nil, .null: return ""
        default: throw .json("\"\(name)\" must be a text")
        }
    }

    /// What `get` answers, with a line break at the end.
    var json: [UInt8] {
        var text = Array(#"{"ServerURL":"#.utf8)
        text += GoText.quoted(Array(serverURL.utf8))
        text += #","Username":"#.utf8
        text += GoText.quoted(Array(username.utf8))
        text += #","Secret":"#.utf8
        text += GoText.quoted(secret.bytes)
        text += "}\n".utf8
        return text
    }
}

/// Why `store` cannot take what it got.
enum InvalidCredentials: Error, Equatable {
    case json(String)
    case missingServerURL
    case missingUsername
    case zeroByte(String)

    /// The text for the client.
    var text: String {
        switch self {
        case .json(let fault): "invalid credentials on standard input: \(fault)"
        case .missingServerURL: ProtocolText.missingServerURL
        case .missingUsername: ProtocolText.missingUsername
        case .zeroByte(let name): "\"\(name)\" holds a zero byte"
        }
    }
}

/// The answer to `list`: whose credentials are kept for which server.
struct CredentialList: Equatable {
    private(set) var usernames: [[UInt8]: String] = [:]

    /// Notes a server; the first that is noted stays.
    mutating func add(server: String, username: String) {
        let key = Array(server.utf8)
        if usernames[key] == nil { usernames[key] = username }
    }

    /// The answer, sorted by server as Go sorts the keys of a map, with a line break at the end.
    var json: [UInt8] {
        let sorted = usernames.sorted { $0.key.lexicographicallyPrecedes($1.key) }
        var text: [UInt8] = [UInt8(ascii: "{")]
        for (index, (server, username)) in sorted.enumerated() {
            if index > 0 { text.append(UInt8(ascii: ",")) }
            text += GoText.quoted(server)
            text.append(UInt8(ascii: ":"))
            text += GoText.quoted(Array(username.utf8))
        }
        text += "}\n".utf8
        return text
    }

    /// Reads another helper's answer.
    ///
    /// - Parameter json: its output.
    /// - Returns: servers and users, or `nil` if it is not an object of texts.
    static func read(_ json: [UInt8]) -> [(server: String, username: String)]? {
        guard let members = (try? StrictJSON.parse(json))?.members else { return nil }
        var entries: [(server: String, username: String)] = []
        for member in members {
            guard let username = member.value.text else { return nil }
            entries.append((member.name, username))
        }
        return entries
    }
}
