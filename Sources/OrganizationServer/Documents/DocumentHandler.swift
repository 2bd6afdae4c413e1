import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTPTypes
import RegistryAccess

/// Connections on which documents that are in memory are answered where they are asked for.
///
/// After a change every machine asks for the same few documents within a second. Each question answered by the router is a
/// dozen changes of task; here it is one function call on the event loop. Whatever is not plainly such a question goes to
/// the router, which answers the same.
struct DocumentChannel: ServerChildChannel {
    let base: HTTP1Channel
    let services: Services

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<HTTP1Channel.Value> {
        base.setup(channel: channel, logger: logger).flatMapThrowing { [services] value in
            // Behind what closes idle connections, which has to know of each request.
            let pipeline = channel.pipeline.syncOperations
            let idle = try pipeline.handler(type: HTTPConnectionStateHandler.self)
            let address = ClientAddress.shortened(channel.remoteAddress?.ipAddress)
            try pipeline.addHandler(
                DocumentHandler(services: services, address: address, logger: logger),
                position: .after(idle)
            )
            return value
        }
    }

    func handle(value: HTTP1Channel.Value, logger: Logger) async {
        await base.handle(value: value, logger: logger)
    }
}

/// Answers what is asked of documents in memory, and lets everything else through.
private final class DocumentHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    private let services: Services
    private let address: String
    private let logger: Logger
    /// The answer to the request that is being read, if it is given here.
    private var answer: DocumentAnswer?
    /// How many requests the router has not answered yet; answers keep the order of their requests.
    private var unanswered = 0

    init(services: Services, address: String, logger: Logger) {
        self.services = services
        self.address = address
        self.logger = logger
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let request):
            if unanswered == 0 { answer = services.documentAnswer(to: request) }
            guard answer == nil else { return }
            unanswered += 1
            context.fireChannelRead(data)
        case .body:
            if answer == nil { context.fireChannelRead(data) }
        case .end:
            guard let answer else { return context.fireChannelRead(data) }
            self.answer = nil
            send(answer, context)
        }
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        if case .end = unwrapOutboundIn(data) { unanswered -= 1 }
        context.write(data, promise: promise)
    }

    private func send(_ answer: DocumentAnswer, _ context: ChannelHandlerContext) {
        let start = ContinuousClock.now
        let response = answer.response
        context.write(wrapOutboundOut(.head(response.head)), promise: nil)
        if let body = answer.body { context.write(wrapOutboundOut(.body(body)), promise: nil) }
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        Answers.note(
            Answered(
                id: "-",
                method: .get,
                route: answer.route,
                status: response.status,
                address: answer.address ?? address,
                person: nil
            ),
            since: start,
            services.metrics,
            logger
        )
    }
}

/// The answer to a question for a document.
private struct DocumentAnswer {
    let response: Response
    let body: ByteBuffer?
    let route: String
    /// Who asks, if a proxy says so.
    let address: String?
}

extension Services {
    /// The answer to a request for a document that is in memory.
    ///
    /// - Parameter request: the request.
    /// - Returns: the answer; `nil` if it is for the router to answer.
    fileprivate func documentAnswer(to request: HTTPRequest) -> DocumentAnswer? {
        let prefix = "/v1/organizations/"
        guard request.method == .get, let path = request.path, path.utf8.starts(with: prefix.utf8) else { return nil }
        for name in [HTTPField.Name.authorization, .connection, .contentLength, .transferEncoding, .expect] {
            guard !request.headerFields.contains(name) else { return nil }
        }
        let rest = path.utf8.dropFirst(prefix.utf8.count)
        guard let end = rest.firstIndex(of: UInt8(ascii: "/")), let organization = String(rest[..<end]),
            rest[end...].starts(with: "/documents/".utf8), let newest = publisher.served.held(of: organization)
        else { return nil }
        let name = rest[end...].dropFirst("/documents/".utf8.count)
        let documents = "/v1/organizations/{organization}/documents"
        let (document, route, isVersion): (ServedDocuments.Document, String, Bool)
        if name.elementsEqual("freshness.json".utf8) {
            (document, route, isVersion) = (newest.freshness, "freshness.json", false)
        } else if name.elementsEqual("policy.json".utf8) {
            (document, route, isVersion) = (newest.policy, "policy.json", false)
        } else if name.elementsEqual("policy/\(newest.policyVersion).json".utf8) {
            (document, route, isVersion) = (newest.policy, "policy/{version}", true)
        } else if name.elementsEqual("root/\(newest.roots.count + 1).json".utf8) {
            // What every machine asks first: whether there is another root document.
            var (response, body) = Problem.noDocument.answer
            Answers.addHeaders(to: &response, isSecure: settings.publicAddress.isSecure)
            return DocumentAnswer(
                response: response,
                body: body,
                route: "\(documents)/root/{version}",
                address: forwardedAddress(request)
            )
        } else {
            return nil
        }
        let response = document.answer(
            ifNoneMatch: request.headerFields[.ifNoneMatch],
            isVersion: isVersion,
            Answers.headers(isSecure: settings.publicAddress.isSecure)
        )
        return DocumentAnswer(
            response: response,
            body: response.status == .ok ? document.bytes : nil,
            route: "\(documents)/\(route)",
            address: forwardedAddress(request)
        )
    }

    private func forwardedAddress(_ request: HTTPRequest) -> String? {
        settings.isBehindProxy ? ClientAddress.forwarded(request.headerFields) : nil
    }
}
