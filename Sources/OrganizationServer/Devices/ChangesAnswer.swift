import HTTPTypes
import Hummingbird
import NIOCore

/// What a device is told that asks for changes.
struct ChangesAnswer: ResponseGenerator {
    /// Names how far everything has come; the device asks with it the next time.
    let cursor: String
    private let state: String
    private let news: String?

    /// What is to be told.
    ///
    /// - Parameters:
    ///   - changes: what concerns the device.
    ///   - newest: what the organization serves.
    ///   - after: the cursor that the device knows; it is told the documents unless it has them.
    init(_ changes: DeviceChanges, _ newest: ServedDocuments.Newest?, after: String?) {
        let sequence = "\(newest?.sequence ?? 0)"
        let ticket = "\(changes.teams)-\(changes.signIns)-\(changes.session.rawValue)"
        let cursor = "\(sequence)-\(ticket)-\(changes.requests)"
        let knowsDocuments = after?.split(separator: "-").first.map { $0.utf8.elementsEqual(sequence.utf8) } ?? false
        self.init(
            cursor: cursor,
            state: "\"cursor\":\"\(cursor)\",\"session\":\"\(changes.session.rawValue)\",\"ticket\":\"\(ticket)\","
                + "\"requests\":\(changes.requests)",
            news: knowsDocuments ? nil : newest?.news
        )
    }

    private init(cursor: String, state: String, news: String?) {
        self.cursor = cursor
        self.state = state
        self.news = news
    }

    /// What a device is told that knows all this.
    var unchanged: ChangesAnswer { ChangesAnswer(cursor: cursor, state: state, news: nil) }

    /// The answer as it is sent.
    ///
    /// It is not made by way of a JSON value: thousands of devices are told the same long texts at once.
    var body: ByteBuffer { ByteBuffer(string: "{\(state)\(news.map { ",\($0)" } ?? "")}\n") }

    /// The field that the answer has besides those that all have.
    static let contentType = "application/json"

    func response(from request: Request, context: some RequestContext) -> Response {
        let body = body
        return Response(
            status: .ok,
            headers: [.contentType: Self.contentType, .contentLength: "\(body.readableBytes)"],
            body: ResponseBody(byteBuffer: body)
        )
    }
}
