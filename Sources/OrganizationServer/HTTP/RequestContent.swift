import Foundation
import HTTPTypes
import Hummingbird
import RegistryAccess

extension Request {
    /// The body as a JSON object, read strictly.
    ///
    /// - Parameters:
    ///   - known: every key that it may have.
    ///   - context: what limits its size.
    ///   - member: called behind each colon; must read one value.
    /// - Throws: ``Problem`` with the place of a mistake.
    func readObject(
        of known: [String],
        _ context: ServerContext,
        _ member: (_ key: String, inout JSONScanner) throws(InvalidJSON) -> Void
    ) async throws {
        try requireMediaType("application/json")
        let bytes = Array(try await body.collect(upTo: context.maxUploadSize).readableBytesView)
        do throws(InvalidJSON) {
            var scanner = JSONScanner(bytes, limits: StrictJSON.Limits(bytes: context.maxUploadSize, depth: 4))
            try scanner.object(of: known, member)
            try scanner.end()
        } catch {
            throw Problem(.badRequest, .badRequest, "the body is not in order: \(error)")
        }
    }

    /// The body as a JSON object of texts.
    ///
    /// - Parameters:
    ///   - required: the keys that must be there.
    ///   - optional: the keys that may be there.
    ///   - context: what limits its size.
    /// - Returns: the texts by their keys.
    /// - Throws: ``Problem`` with the place of a mistake.
    func readTexts(_ required: [String], optional: [String] = [], _ context: ServerContext) async throws
        -> [String: String]
    {
        var texts: [String: String] = [:]
        try await readObject(of: required + optional, context) { (key, scanner) throws(InvalidJSON) in
            texts[key] = try scanner.string()
        }
        if let missing = required.first(where: { texts[$0] == nil }) {
            throw Problem(.badRequest, .badRequest, "the key \"\(missing)\" is missing")
        }
        return texts
    }

    /// The body as the fields of a form; a field that comes twice is a mistake (RFC 6749, section 3.2).
    ///
    /// - Parameter context: what limits its size.
    /// - Returns: the fields that are not empty.
    /// - Throws: ``Problem``.
    func readForm(_ context: ServerContext) async throws -> [String: String] {
        try requireMediaType("application/x-www-form-urlencoded")
        let text = String(buffer: try await body.collect(upTo: 64 << 10))
        var fields: [String: String] = [:]
        for pair in text.split(separator: "&") {
            let halves = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let decoded = halves.map { $0.replacing("+", with: " ").removingPercentEncoding }
            guard decoded.count == 2, let name = decoded[0], let value = decoded[1] else {
                throw Problem.faultyForm
            }
            guard fields[name] == nil else {
                throw Problem(.badRequest, .badRequest, "the field \(JSONScanner.quoted(name)) comes twice")
            }
            fields[name] = value
        }
        return fields.filter { !$0.value.isEmpty }
    }

    /// A parameter of the query.
    ///
    /// - Parameter name: which.
    /// - Returns: its value; `nil` if it is not there or empty.
    /// - Throws: ``Problem`` if it comes twice.
    func queryValue(_ name: String) throws(Problem) -> String? {
        let values = uri.queryParameters[values: name[...]]
        guard values.count <= 1 else {
            throw Problem(.badRequest, .badRequest, "\"\(name)\" comes twice in the query")
        }
        return values.first.flatMap { $0.isEmpty ? nil : String($0) }
    }

    private func requireMediaType(_ expected: String) throws(Problem) {
        let given = headers[.contentType].map { $0.prefix { $0 != ";" }.filter { $0 != " " }.lowercased() }
        guard given == expected else {
            throw Problem(.unsupportedMediaType, .wrongMediaType, "the body must be \"\(expected)\"")
        }
    }
}

/// An answer in JSON.
struct JSONAnswer: ResponseGenerator {
    /// What is said.
    let value: JSONValue
    /// The status.
    var status = HTTPResponse.Status.ok

    func response(from request: Request, context: some RequestContext) -> Response {
        let body = ByteBuffer(string: value.text() + "\n")
        var headers = HTTPFields()
        headers[.contentType] = "application/json"
        headers[.contentLength] = String(body.readableBytes)
        return Response(status: status, headers: headers, body: ResponseBody(byteBuffer: body))
    }
}
