import HTTPTypes
import Hummingbird
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

    /// The activity from the newest line on.
    ///
    /// - Parameters:
    ///   - organization: whose.
    ///   - filter: which lines.
    ///   - isLimited: whether the filter's limit counts, and not all is wanted.
    ///   - store: where the lines are.
    /// - Returns: the answer.
    func export(of organization: String, _ filter: ActivityFilter, isLimited: Bool, _ store: Store) -> Response {
        let start = Place(before: filter.before, left: isLimited ? filter.limit : Int.max)
        return download("activity-\(organization)", Self.head, from: start) { place in
            var filter = filter
            (filter.before, filter.limit) = (place.before, min(Self.page, place.left))
            let lines = try await store.activity(of: organization, filter)
            return (lines.map(text).joined(), place.next(lines.count, of: filter.limit, lines.last?.number))
        }
    }

    /// What machines refused, from the newest on.
    ///
    /// - Parameters:
    ///   - organization: whose.
    ///   - filter: which; its limit does not count.
    ///   - store: where they are.
    /// - Returns: the answer.
    func export(of organization: String, _ filter: RefusalFilter, _ store: Store) -> Response {
        let start = Place(before: filter.before, left: Int.max)
        return download("refusals-\(organization)", Self.refusalHead, from: start) { place in
            var filter = filter
            (filter.before, filter.limit) = (place.before, Self.page)
            let refusals = try await store.refusals(of: organization, filter)
            let names = try await store.deviceNames(of: Set(refusals.map(\.device)), in: organization)
            let lines = refusals.map { text($0, deviceName: names[$0.device]?.name) }
            return (lines.joined(), place.next(refusals.count, of: filter.limit, refusals.last?.number))
        }
    }

    /// How far it is written.
    private struct Place: Sendable {
        let before: Int?
        let left: Int

        /// Where it goes on behind lines that were read; `nil`: nowhere.
        func next(_ count: Int, of limit: Int, _ last: Int?) -> Place? {
            guard count == limit, let last, left > count else { return nil }
            return Place(before: last, left: left - count)
        }
    }

    private func download(
        _ name: String,
        _ head: String,
        from start: Place,
        _ next: @escaping @Sendable (Place) async throws -> (text: String, next: Place?)
    ) -> Response {
        Response.download(
            "\(name).\(rawValue)",
            self == .csv ? "text/csv; charset=utf-8" : "application/x-ndjson",
            head: self == .csv ? head : "",
            from: start,
            next
        )
    }

    private static let head = "number,time,action,actor,name,data\r\n"
    private static let refusalHead =
        "number,received,device,id,time,registry,action,verdict,rule,point,user,deviceName\r\n"

    private func text(_ line: KeptActivity) -> String {
        guard self == .csv else { return line.json.text() + "\n" }
        let cells = [
            "\(line.number)", line.time.description, line.action, line.actor, line.name, line.data.text(),
        ]
        return Self.line(cells)
    }

    private func text(_ kept: KeptRefusal, deviceName: String?) -> String {
        guard self == .csv else {
            let members = (kept.json.members ?? []) + [JSONMember("deviceName", .text(deviceName))]
            return JSONValue.object(members).text() + "\n"
        }
        let refusal = kept.refusal
        return Self.line([
            "\(kept.number)", kept.received.description, kept.device, refusal.id, refusal.time,
            refusal.registry ?? "", refusal.action ?? "", refusal.verdict, refusal.rule ?? "", refusal.point,
            refusal.user ?? "", deviceName ?? "",
        ])
    }

    /// A line of a table.
    ///
    /// - Parameter cells: what is in it.
    /// - Returns: the line with its end.
    static func line(_ cells: [String]) -> String { cells.map(cell).joined(separator: ",") + "\r\n" }

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
