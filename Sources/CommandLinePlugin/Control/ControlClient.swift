import Glibc
import LocalInstallation
import OrganizationClient
import RegistryAccess

/// Asks docker-ramd over its control socket: one JSON line there, JSON lines back.
struct ControlClient {
    let path: String

    /// How long an answer may take, in milliseconds.
    private static let patience: Int32 = 2000
    /// The same where docker-ramd looks through its whole log, of which it may send nothing for a while.
    private static let historyPatience: Int32 = 60_000
    /// The longest line that is taken.
    private static let longestLine = 1 << 20

    /// docker-ramd does not answer, or not as it should.
    struct Unanswered: Error, CustomStringConvertible {
        let description: String
        /// Whether there is no socket at all.
        let isAbsent: Bool
    }

    /// Sends a request and hands out every line of the answer.
    ///
    /// - Parameters:
    ///   - request: the request.
    ///   - patience: how long nothing may come, in milliseconds; negative means for ever.
    ///   - body: gets each line as it was sent, and its value.
    /// - Throws: ``Unanswered``, or what the body throws.
    func ask(
        _ request: JSONValue,
        patience: Int32 = Self.patience,
        _ body: (String, JSONValue) throws -> Void
    ) throws {
        guard let socket = ClientSocket(connectingTo: path) else {
            let code = errno
            let reason = String(cString: strerror(code)).lowercased()
            throw Unanswered(
                description: "docker-ramd does not answer on \"\(path)\": \(reason)",
                isAbsent: code == ENOENT
            )
        }
        defer { socket.close() }
        guard socket.send(request.text() + "\n") else { throw silence() }
        var pending: [UInt8] = []
        while true {
            switch socket.receive(within: patience) {
            case .bytes(let bytes):
                pending += bytes
                var rest = pending[...]
                while let newline = rest.firstIndex(of: 0x0A) {
                    try handOut(Array(rest[..<newline]), body)
                    rest = rest[(newline + 1)...]
                }
                pending = Array(rest)
                guard pending.count <= Self.longestLine else { throw silence("sent a line without end") }
            case .end:
                if !pending.isEmpty { try handOut(pending, body) }
                return
            case .timeout: throw silence("does not answer within \(patience / 1000) seconds")
            case .failure(let code): throw silence(String(cString: strerror(code)).lowercased())
            }
        }
    }

    private func handOut(_ line: [UInt8], _ body: (String, JSONValue) throws -> Void) throws {
        guard !line.isEmpty else { return }
        guard let value = try? StrictJSON.parse(line) else { throw silence("sent something that is not JSON") }
        if let error = value.value(named: "error")?.text { throw silence("says: \(error)") }
        try body(String(decoding: line, as: UTF8.self), value)
    }

    private func silence(_ what: String = "does not answer within 2 seconds") -> Unanswered {
        Unanswered(description: "docker-ramd on \"\(path)\" \(what)", isAbsent: false)
    }

    /// What docker-ramd says about itself.
    func status() throws -> JSONValue {
        var status: JSONValue?
        try ask(.object([JSONMember("request", .string("status"))])) { _, value in status = status ?? value }
        guard let status else { throw silence("sent no status") }
        return status
    }

    /// What was asked of the organization on this machine, the newest first.
    func requests() throws -> [RegistryRequest] {
        var requests: [RegistryRequest] = []
        try ask(.object([JSONMember("request", .string("requests"))])) { _, value in
            requests += (value.value(named: "requests")?.elements ?? []).compactMap { RegistryRequest($0) }
        }
        return requests
    }

    /// The latest decisions, the oldest first.
    func log(limit: Int) throws -> [JSONValue] {
        var records: [JSONValue] = []
        try ask(Self.logRequest(limit: limit, follow: false)) { _, value in records.append(value) }
        return records
    }

    /// Every decision, the oldest first.
    ///
    /// - Parameters:
    ///   - since: the earliest time, as records have it.
    ///   - isDeniedOnly: whether to leave out what was allowed.
    ///   - body: gets each record.
    /// - Throws: ``Unanswered``; what was handed out before is then not all.
    func history(since: String?, isDeniedOnly: Bool, _ body: (JSONValue) -> Void) throws {
        var members = [
            JSONMember("request", .string("history")), JSONMember("refusedOnly", .bool(isDeniedOnly)),
        ]
        if let since { members.append(JSONMember("since", .string(since))) }
        var isWhole = false
        try ask(.object(members), patience: Self.historyPatience) { _, value in
            if value.value(named: "end") == .bool(true) { isWhole = true } else { body(value) }
        }
        guard isWhole else { throw silence("did not send the whole log") }
    }

    static func logRequest(limit: Int, follow: Bool) -> JSONValue {
        .object([
            JSONMember("request", .string("log")),
            JSONMember("limit", .number("\(limit)")),
            JSONMember("follow", .bool(follow)),
        ])
    }
}
