import RegistryAccess

/// What `server.json` in the data directory says.
struct ServerSettings: Hashable, Sendable {
    /// Where browsers and machines reach the server.
    var publicAddress: PublicAddress
    /// Where it listens, unless the command line says otherwise: `HOST:PORT`.
    var listen: String
    /// The binary logarithm of scrypt's cost for new passwords.
    var passwordCost: Int
    /// Whether a proxy stands before the server, whose `X-Forwarded-For` names the client; said on the command line only.
    var isBehindProxy = false

    /// Settings.
    ///
    /// - Parameters:
    ///   - publicAddress: where browsers and machines reach the server.
    ///   - listen: where it listens.
    ///   - passwordCost: the binary logarithm of scrypt's cost.
    init(publicAddress: PublicAddress, listen: String = "127.0.0.1:8443", passwordCost: Int = PasswordCost.standard) {
        self.publicAddress = publicAddress
        self.listen = listen
        self.passwordCost = passwordCost
    }

    /// Reads the file, strictly.
    ///
    /// - Parameter json: what is in it.
    /// - Throws: `InvalidJSON` with the place.
    init(json: [UInt8]) throws(InvalidJSON) {
        var publicAddress: PublicAddress?
        var listen: String?
        var passwordCost: Int?
        var version: String?
        var scanner = JSONScanner(json, limits: StrictJSON.Limits(bytes: 64 << 10, depth: 2))
        try scanner.checkSize()
        try scanner.object(of: ["version", "publicURL", "listen", "passwordCost"]) {
            (key, scanner) throws(InvalidJSON) in
            _ = scanner.peek()
            let start = scanner.position
            switch key {
            case "version": version = try scanner.number()
            case "publicURL":
                publicAddress = PublicAddress(try scanner.string())
                guard publicAddress != nil else {
                    throw scanner.fault("this is no address like \"https://ram.acme.test\"", at: start)
                }
            case "listen":
                let text = try scanner.string()
                guard let address = PublicAddress.hostAndPort(text), address.port != nil else {
                    throw scanner.fault("this is no address like \"127.0.0.1:8443\"", at: start)
                }
                listen = text
            default:
                passwordCost = Int(try scanner.number())
                guard passwordCost.map(PasswordCost.allowed.contains) ?? false else {
                    throw scanner.fault("a cost is from 15 to 17", at: start)
                }
            }
        }
        try scanner.end()
        guard version == "1" else { throw scanner.fault("\"version\" must be there and 1", at: 0) }
        guard let publicAddress else { throw scanner.fault("the key \"publicURL\" is missing", at: 0) }
        self.init(publicAddress: publicAddress)
        self.listen = listen ?? self.listen
        self.passwordCost = passwordCost ?? self.passwordCost
    }

    /// The file.
    var json: String {
        let document = JSONValue.object([
            JSONMember("version", .number("1")),
            JSONMember("publicURL", .string(publicAddress.description)),
            JSONMember("listen", .string(listen)),
            JSONMember("passwordCost", .number(String(passwordCost))),
        ])
        return document.text(indentation: "  ") + "\n"
    }
}
