import AsyncHTTPClient
import NIOCore
import NIOHTTP1
public import RegistryAccess

/// Why an administrator's request was not answered as wished.
public enum AdministrationFault: Error, Hashable, Sendable {
    /// The server refused, and said why.
    case refused(ServerProblem)
    /// There is no answer, or none that says anything.
    case unanswered(ServerFault)
}

/// A refusal of the server in its own words: problem JSON (RFC 9457).
public struct ServerProblem: Error, Hashable, Sendable, CustomStringConvertible {
    /// A place in a document that is not in order.
    public struct Fault: Hashable, Sendable {
        /// The line, from 1.
        public let line: Int
        /// The column in bytes, from 1.
        public let column: Int
        /// What is wrong there.
        public let message: String
    }

    /// The status.
    public let status: UInt
    /// One of the server's closed set.
    public let code: String
    /// What happened.
    public let detail: String
    /// What to do, if the server knows.
    public let hint: String?
    /// What is wrong with the document that was sent.
    public let faults: [Fault]

    /// What happened.
    public var description: String { detail }

    /// Reads a problem; `nil` if the body is none.
    init?(status: UInt, body: [UInt8]) {
        let limits = StrictJSON.Limits(bytes: 64 << 10, depth: 8, foldsKeys: false)
        guard let problem = try? StrictJSON.parse(body, limits: limits),
            let code = problem.value(named: "code")?.text, let detail = problem.value(named: "detail")?.text
        else { return nil }
        self.status = status
        self.code = code
        self.detail = detail
        hint = problem.value(named: "hint")?.text
        faults = (problem.value(named: "faults")?.elements ?? []).compactMap { fault in
            guard case .number(let line)? = fault.value(named: "line"),
                case .number(let column)? = fault.value(named: "column"), let line = Int(line),
                let column = Int(column), let message = fault.value(named: "message")?.text
            else { return nil }
            return Fault(line: line, column: column, message: message)
        }
    }
}

extension OrganizationClient {
    /// A request to the server's own API.
    public struct AdministrationRequest: Sendable {
        /// What to do with it.
        public enum Method: String, Sendable {
            /// Read.
            case get = "GET"
            /// Make.
            case post = "POST"
            /// Set.
            case put = "PUT"
            /// Set a part.
            case patch = "PATCH"
            /// Take away.
            case delete = "DELETE"
        }

        /// What to do.
        public let method: Method
        /// The parts of the path below `/v1`, not encoded.
        public let path: [String]
        /// The parameters of the query, not encoded.
        public var query: [(name: String, value: String)] = []
        /// A JSON document.
        public var body: [UInt8]?
        /// The version that must be the newest for anything to be written.
        public var version: Int?

        /// A request.
        ///
        /// - Parameters:
        ///   - method: what to do.
        ///   - path: the parts of the path below `/v1`, not encoded.
        public init(_ method: Method, _ path: [String]) {
            self.method = method
            self.path = path
        }
    }

    /// What the server answered to an administrator.
    public struct AdministrationAnswer: Sendable {
        /// The document; `null` where there is nothing to say.
        public let value: JSONValue
        /// The version of what was asked for (`ETag`), where it has one.
        public let version: Int?
    }

    /// Does what an administrator wants.
    ///
    /// - Parameters:
    ///   - request: what they want.
    ///   - token: by which they are known; `nil` if nobody in particular asks.
    /// - Returns: the answer.
    /// - Throws: ``AdministrationFault``.
    public func administer(
        _ request: AdministrationRequest,
        showing token: Token?
    ) async throws(AdministrationFault) -> AdministrationAnswer {
        // A policy may be long, and so may be what the server needs to sign it.
        let isPolicy = request.path.contains("policy")
        let longest = isPolicy ? AccessPolicy.longestDocument : 16 << 20
        let time = isPolicy ? limits.policy : limits.exchange
        let answer = try await send(request, showing: token, as: "application/json", atMost: longest, within: time)
        return try Self.read(answer, atMost: longest)
    }

    /// The longest export that is taken, in bytes.
    public static let longestExport = 1 << 30

    /// Fetches something that is no document but a text as it is: an export.
    ///
    /// - Parameters:
    ///   - request: what is wanted.
    ///   - token: by which whoever wants it is known.
    /// - Returns: the text.
    /// - Throws: ``AdministrationFault``.
    public func export(_ request: AdministrationRequest, showing token: Token?) async throws(AdministrationFault)
        -> [UInt8]
    {
        try await send(request, showing: token, as: "*/*", atMost: Self.longestExport, within: limits.policy).body
    }

    private func send(
        _ request: AdministrationRequest,
        showing token: Token?,
        as mediaType: String,
        atMost longest: Int,
        within time: Duration
    ) async throws(AdministrationFault) -> Answer {
        let path = request.path.map(PercentEncoding.encode).joined(separator: "/")
        let query = request.query.map { "\(PercentEncoding.encode($0.name))=\(PercentEncoding.encode($0.value))" }
        let url = "\(server)/v1/\(path)" + (query.isEmpty ? "" : "?\(query.joined(separator: "&"))")
        var sent = HTTPClientRequest(url: url)
        sent.method = HTTPMethod(rawValue: request.method.rawValue)
        if let token { sent.headers.add(name: "Authorization", value: "Bearer \(token.text)") }
        sent.headers.add(name: "Accept", value: mediaType)
        if let version = request.version { sent.headers.add(name: "If-Match", value: "\"\(version)\"") }
        if let body = request.body {
            sent.headers.add(name: "Content-Type", value: "application/json")
            sent.body = .bytes(ByteBuffer(bytes: body))
        }
        let answer: Answer
        do throws(ServerFault) {
            answer = try await self.answer(to: sent, atMost: longest, within: time)
        } catch {
            throw .unanswered(error)
        }
        switch answer.status {
        case 200...204: return answer
        case 300...399: throw .unanswered(.redirect)
        default:
            if let problem = ServerProblem(status: answer.status, body: answer.body) { throw .refused(problem) }
            throw .unanswered(ServerFault(status: answer.status, body: answer.body))
        }
    }

    private static func read(_ answer: Answer, atMost limit: Int) throws(AdministrationFault) -> AdministrationAnswer {
        let tag = answer.tag ?? ""
        let version = tag.hasPrefix("\"") && tag.hasSuffix("\"") ? Int(tag.dropFirst().dropLast()) : nil
        guard !answer.body.isEmpty else { return AdministrationAnswer(value: .null, version: version) }
        do throws(InvalidJSON) {
            let limits = StrictJSON.Limits(bytes: limit, depth: 16, foldsKeys: false)
            return AdministrationAnswer(value: try StrictJSON.parse(answer.body, limits: limits), version: version)
        } catch {
            throw .unanswered(.malformed("\(error)"))
        }
    }
}
