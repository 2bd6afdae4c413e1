public import RegistryAccess

/// To which organization this machine belongs, as root has said in `enrollment.json`, and whether its members have to sign
/// in, as root has said in `registry.json`.
public struct Enrollment: Hashable, Sendable {
    /// The organization's server.
    public let server: ServerURL
    /// The organization.
    public let organization: String
    /// The fingerprint of a root key of the organization: `sha256:` and 64 hexadecimal digits.
    public let fingerprint: String
    /// The folder with a static copy of the signed documents, if they do not come from the server.
    public let documents: ServerURL?
    /// The file with the certificate authorities that the server's certificate has to come from, if not the system's.
    public let certificateAuthority: String?
    /// Whether somebody has to be signed in.
    public var requiresSignIn: Bool

    /// An enrollment.
    ///
    /// - Parameters:
    ///   - server: the organization's server.
    ///   - organization: the organization.
    ///   - fingerprint: the fingerprint of a root key.
    ///   - documents: the folder with a static copy of the signed documents.
    ///   - certificateAuthority: an absolute path.
    ///   - requiresSignIn: whether somebody has to be signed in.
    public init(
        server: ServerURL,
        organization: String,
        fingerprint: String,
        documents: ServerURL? = nil,
        certificateAuthority: String? = nil,
        requiresSignIn: Bool = false
    ) {
        self.server = server
        self.organization = organization
        self.fingerprint = fingerprint
        self.documents = documents
        self.certificateAuthority = certificateAuthority
        self.requiresSignIn = requiresSignIn
    }

    /// What has to be within reach whatever the policy says, so that there can be another: the server, and the folder with
    /// the documents.
    public var servers: [ServerURL] { [server, documents].compactMap(\.self) }

    /// Where a browser asks the organization for a registry, or shows what was asked for.
    ///
    /// - Parameter registry: fills in the form.
    /// - Returns: the address of the page.
    public func requestPage(for registry: RegistryAddress? = nil) -> String {
        let query = registry.map { "?registry=\(PercentEncoding.encode($0.description))" } ?? ""
        return "\(server)/organizations/\(organization)/requests\(query)"
    }

    // MARK: - The files

    /// What is at the place of the enrollment.
    public enum Reading: Hashable, Sendable {
        /// Nothing: the machine belongs to no organization.
        case none
        /// An enrollment.
        case enrolled(Enrollment)
        /// Something that cannot be used, and why: everything that touches a registry is refused.
        case faulty(String)

        /// The enrollment, if there is one that can be used.
        public var enrollment: Enrollment? {
            if case .enrolled(let enrollment) = self { enrollment } else { nil }
        }
    }

    /// The longest file that is read, in bytes.
    static let longestFile = 64 << 10

    /// Reads the enrollment of this machine.
    ///
    /// All files must be as hard to write for others as the policy file is. ``InstallationPaths/registryRequirement`` and
    /// Docker Desktop's own ``InstallationPaths/desktopRegistryRequirement`` need not be there; one that is there must name
    /// the organization, and then sign-in is enforced.
    ///
    /// - Parameter paths: where to look.
    /// - Returns: what is there.
    public static func read(_ paths: InstallationPaths) -> Reading {
        do throws(FileFault) {
            guard let bytes = try content(of: paths.enrollment, paths) else { return .none }
            var enrollment = try reading(paths.enrollment) { () throws(InvalidJSON) in try Enrollment(json: bytes) }
            for path in [paths.registryRequirement, paths.desktopRegistryRequirement] {
                guard let bytes = try content(of: path, paths) else { continue }
                let names = try reading(path) { () throws(InvalidJSON) in try allowedOrganizations(json: bytes) }
                guard names.contains(where: { $0.utf8.elementsEqual(enrollment.organization.utf8) }) else {
                    throw FileFault(
                        description: "\"\(path)\" does not name \"\(enrollment.organization)\", the organization of "
                            + "\"\(paths.enrollment)\"; put it into allowedOrgs or remove the file"
                    )
                }
                enrollment.requiresSignIn = true
            }
            return .enrolled(enrollment)
        } catch {
            return .faulty(error.description)
        }
    }

    private struct FileFault: Error {
        let description: String
    }

    private static func content(of path: String, _ paths: InstallationPaths) throws(FileFault) -> [UInt8]? {
        let bytes: [UInt8]
        let fault: String?
        do throws(FileError) {
            let file = try Files.read(path, atMost: longestFile)
            bytes = file.bytes
            fault = try TrustedFile.fault(in: file.status, of: path, trusting: TrustedFile.owners(under: paths))
        } catch {
            // A link that leads nowhere is no sign that there is nothing.
            if error.isNotFound, !Files.isSymbolicLink(path) { return nil }
            throw FileFault(description: "\(error)")
        }
        if let fault { throw FileFault(description: fault) }
        return bytes
    }

    private static func reading<Value>(
        _ path: String,
        _ read: () throws(InvalidJSON) -> Value
    ) throws(FileFault) -> Value {
        do throws(InvalidJSON) {
            return try read()
        } catch {
            throw FileFault(description: "\"\(path)\", \(error)")
        }
    }

    // MARK: - Documents

    /// Reads `enrollment.json`.
    ///
    /// - Parameter json: the document.
    /// - Throws: `InvalidJSON` with the place of the first fault.
    public init(json: [UInt8]) throws(InvalidJSON) {
        var scanner = JSONScanner(json, limits: StrictJSON.Limits(bytes: Self.longestFile, depth: 2))
        var version: String?
        var server: ServerURL?
        var organization: String?
        var fingerprint: String?
        var documents: ServerURL?
        var certificateAuthority: String?
        try scanner.checkSize()
        let keys = ["version", "server", "organization", "fingerprint", "documents", "certificateAuthority"]
        try scanner.object(of: keys) { (key, scanner) throws(InvalidJSON) in
            _ = scanner.peek()
            let start = scanner.position
            switch key {
            case "version":
                version = try scanner.number()
                guard version == "1" else { throw scanner.fault("the only version that is known is 1", at: start) }
            case "server": server = try Self.address(&scanner)
            case "organization":
                let name = try scanner.string()
                guard OrganizationName.isValid(name) else {
                    throw scanner.fault("expected the name of an organization, like \"acme\"", at: start)
                }
                organization = name
            case "fingerprint":
                let text = try scanner.string()
                guard Self.isFingerprint(text) else {
                    throw scanner.fault("expected \"sha256:\" and 64 hexadecimal digits", at: start)
                }
                fingerprint = text
            case "documents": documents = try Self.address(&scanner)
            default:
                let path = try scanner.string()
                guard path.utf8.first == UInt8(ascii: "/"), !path.utf8.contains(0) else {
                    throw scanner.fault("expected an absolute path", at: start)
                }
                certificateAuthority = path
            }
        }
        try scanner.end()
        func need<Value>(_ value: Value?, _ key: String) throws(InvalidJSON) -> Value {
            guard let value else { throw scanner.fault("the key \"\(key)\" is missing", at: 0) }
            return value
        }
        _ = try need(version, "version")
        self.init(
            server: try need(server, "server"),
            organization: try need(organization, "organization"),
            fingerprint: try need(fingerprint, "fingerprint"),
            documents: documents,
            certificateAuthority: certificateAuthority
        )
    }

    /// Whether a text is `sha256:` and 64 lower-case hexadecimal digits.
    ///
    /// - Parameter text: the text.
    /// - Returns: whether it is.
    public static func isFingerprint(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        return bytes.count == 71 && bytes.starts(with: "sha256:".utf8)
            && bytes.dropFirst(7).allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
    }

    private static func address(_ scanner: inout JSONScanner) throws(InvalidJSON) -> ServerURL {
        _ = scanner.peek()
        let start = scanner.position
        let text = try scanner.string()
        do throws(InvalidServerURL) {
            return try ServerURL(text)
        } catch {
            throw scanner.fault("this is no address of a server: \(error)", at: start)
        }
    }

    /// Reads `registry.json`, Docker Desktop's own document.
    private static func allowedOrganizations(json: [UInt8]) throws(InvalidJSON) -> [String] {
        var scanner = JSONScanner(json, limits: StrictJSON.Limits(bytes: longestFile, depth: 2))
        var names: [String]?
        try scanner.checkSize()
        try scanner.object(of: ["allowedOrgs"]) { (_, scanner) throws(InvalidJSON) in
            var list: [String] = []
            try scanner.array { (scanner) throws(InvalidJSON) in list.append(try scanner.string()) }
            names = list
        }
        try scanner.end()
        guard let names else { throw scanner.fault("the key \"allowedOrgs\" is missing", at: 0) }
        return names
    }

    /// `enrollment.json`, for writing.
    public var json: JSONValue {
        var members = [
            JSONMember("version", .number("1")),
            JSONMember("server", .string(server.description)),
            JSONMember("organization", .string(organization)),
            JSONMember("fingerprint", .string(fingerprint)),
        ]
        if let documents { members.append(JSONMember("documents", .string(documents.description))) }
        if let certificateAuthority {
            members.append(JSONMember("certificateAuthority", .string(certificateAuthority)))
        }
        return .object(members)
    }
}
