public import RegistryAccess

/// The settings of docker-ramd, from ``InstallationPaths/daemonSettings``.
///
/// | key | type | default | what |
/// |---|---|---|---|
/// | `decisionLog.maximumBytes` | number, 4096 to 1073741824 | 10485760 | when a file of the decision log is full |
/// | `decisionLog.files` | number, 1 to 100 | 5 | how many files are kept, the current one included |
/// | `decisionLog.logAllowed` | true or false | true | whether allowed contacts are recorded too |
///
/// A file that is not there means the defaults; an unknown key refuses the whole file.
public struct DaemonSettings: Hashable, Sendable {
    /// How the decision log is kept.
    public struct DecisionLog: Hashable, Sendable {
        /// When a file is full, in bytes.
        public var maximumBytes = 10 << 20
        /// How many files are kept, the current one included.
        public var files = 5
        /// Whether allowed contacts are recorded too.
        public var logAllowed = true

        /// The defaults.
        public init() {}
    }

    /// How the decision log is kept.
    public var decisionLog = DecisionLog()

    /// The defaults.
    public init() {}

    /// Reads the settings of this machine.
    ///
    /// - Parameter paths: where to look.
    /// - Throws: ``InvalidDaemonSettings`` if there is a file that cannot be used.
    public init(_ paths: InstallationPaths) throws(InvalidDaemonSettings) {
        let path = paths.daemonSettings
        let json: [UInt8]
        do throws(FileError) {
            json = try Files.read(path, atMost: 1 << 20).bytes
        } catch {
            guard error.isNotFound else { throw InvalidDaemonSettings("\(error)") }
            self.init()
            return
        }
        do throws(InvalidJSON) {
            try self.init(json: json)
        } catch {
            throw InvalidDaemonSettings("\"\(path)\", \(error)")
        }
    }

    /// Reads a document.
    ///
    /// - Parameter json: the document.
    /// - Throws: `InvalidJSON` with the place of the first fault.
    public init(json: [UInt8]) throws(InvalidJSON) {
        var scanner = JSONScanner(json, limits: StrictJSON.Limits(bytes: 1 << 20, depth: 4))
        var log = DecisionLog()
        try scanner.checkSize()
        try Self.object(&scanner, ["decisionLog"]) { (_, scanner) throws(InvalidJSON) in
            let keys = ["maximumBytes", "files", "logAllowed"]
            try Self.object(&scanner, keys) { (key, scanner) throws(InvalidJSON) in
                switch key {
                case "maximumBytes": log.maximumBytes = try Self.number(&scanner, 4096...(1 << 30))
                case "files": log.files = try Self.number(&scanner, 1...100)
                default: log.logAllowed = try scanner.bool()
                }
            }
        }
        try scanner.end()
        decisionLog = log
    }

    private static func object(
        _ scanner: inout JSONScanner,
        _ known: [String],
        _ member: (_ key: String, inout JSONScanner) throws(InvalidJSON) -> Void
    ) throws(InvalidJSON) {
        try scanner.object { (key, offset, scanner) throws(InvalidJSON) in
            // As bytes, because Swift holds some Unicode characters for equal to ASCII ones.
            guard let key = known.first(where: { $0.utf8.elementsEqual(key.utf8) }) else {
                let keys = known.map { "\"\($0)\"" }.joined(separator: ", ")
                throw scanner.fault("unknown key \(JSONScanner.quoted(key)); known here: \(keys)", at: offset)
            }
            try member(key, &scanner)
        }
    }

    private static func number(
        _ scanner: inout JSONScanner,
        _ range: ClosedRange<Int>
    ) throws(InvalidJSON) -> Int {
        _ = scanner.peek()
        let start = scanner.position
        guard let number = Int(try scanner.number()), range.contains(number) else {
            throw scanner.fault(
                "expected a whole number from \(range.lowerBound) to \(range.upperBound)",
                at: start
            )
        }
        return number
    }
}

/// Why the settings of docker-ramd cannot be used.
public struct InvalidDaemonSettings: Error, Hashable, Sendable, CustomStringConvertible {
    /// The file, the place and the fault.
    public let description: String

    init(_ description: String) {
        self.description = description
    }
}
