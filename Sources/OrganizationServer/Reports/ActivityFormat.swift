import HTTPTypes
import Hummingbird
import NIOCore
import RegistryAccess

/// How the activity is written for who reads it.
enum ActivityFormat: String, CaseIterable {
    /// A page of it in a document.
    case json
    /// All of it, an object on each line.
    case jsonl
    /// All of it as a table (RFC 4180).
    case csv

    /// The format that the query asks for with `format`.
    ///
    /// - Parameter request: the request.
    /// - Throws: ``Problem``.
    init(of request: Request) throws(Problem) {
        guard let text = try request.queryValue("format") else {
            self = .json
            return
        }
        guard let format = Self(rawValue: text) else {
            throw Problem(.badRequest, .badRequest, "\"format\" must be \"json\", \"jsonl\" or \"csv\"")
        }
        self = format
    }

    /// How many lines are read at once.
    private static let page = 500

    /// The activity from the newest line on, written as it is read: there may be more than memory holds.
    ///
    /// - Parameters:
    ///   - organization: whose.
    ///   - filter: which lines.
    ///   - isLimited: whether the filter's limit counts, and not all is wanted.
    ///   - store: where the lines are.
    /// - Returns: the answer.
    func export(of organization: String, _ filter: ActivityFilter, isLimited: Bool, _ store: Store) -> Response {
        let body = ResponseBody { writer in
            var filter = filter
            var left = isLimited ? filter.limit : Int.max
            if self == .csv { try await writer.write(ByteBuffer(string: Self.head)) }
            while left > 0 {
                filter.limit = min(Self.page, left)
                let lines = try await store.activity(of: organization, filter)
                if !lines.isEmpty { try await writer.write(ByteBuffer(string: lines.map(text).joined())) }
                guard lines.count == filter.limit, let last = lines.last else { break }
                left -= lines.count
                filter.before = last.number
            }
            try await writer.finish(nil)
        }
        var headers: HTTPFields = [.contentType: self == .csv ? "text/csv; charset=utf-8" : "application/x-ndjson"]
        headers[.contentDisposition] = "attachment; filename=\"activity-\(organization).\(rawValue)\""
        return Response(status: .ok, headers: headers, body: body)
    }

    private static let head = "number,time,action,actor,name,data\r\n"

    private func text(_ line: KeptActivity) -> String {
        guard self == .csv else { return line.json.text() + "\n" }
        let cells = [
            "\(line.number)", line.time.description, line.action, line.actor, line.name, line.data.text(),
        ]
        return cells.map(Self.cell).joined(separator: ",") + "\r\n"
    }

    /// A cell of a table.
    ///
    /// Programs that show tables take a cell that begins with `=` and others for a formula and compute it; with `'` before it
    /// they show it as it is (OWASP, "CSV Injection").
    ///
    /// - Parameter text: what is in it.
    /// - Returns: the cell, in quotes where that is needed.
    static func cell(_ text: String) -> String {
        let isFormula = text.utf8.first.map { Array("=+-@\t\r".utf8).contains($0) } ?? false
        let shown = isFormula ? "'\(text)" : text
        guard shown.utf8.contains(where: { [0x22, 0x2C, 0x0A, 0x0D].contains($0) }) else { return shown }
        return "\"\(shown.replacing("\"", with: "\"\""))\""
    }
}
