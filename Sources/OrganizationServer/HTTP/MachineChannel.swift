import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import RegistryAccess
import Synchronization

/// Connections on which what machines ask all the time is answered on the event loop, and everything else by the router.
struct MachineChannel: ServerChildChannel {
    let base: HTTP1Channel
    let services: Services
    private let fields: CommonFields

    init(base: HTTP1Channel, services: Services) {
        self.base = base
        self.services = services
        fields = CommonFields(isSecure: services.settings.publicAddress.isSecure)
    }

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<HTTP1Channel.Value> {
        base.setup(channel: channel, logger: logger).flatMapThrowing { [services, fields] value in
            // Where each request is logged, the router does it.
            guard logger.logLevel > .debug else { return value }
            let pipeline = channel.pipeline.syncOperations
            let documents = DocumentHandler(
                services: services,
                fields: fields,
                encoder: try pipeline.context(handlerType: HTTPResponseEncoder.self)
            )
            let decoder = try pipeline.handler(type: ByteToMessageHandler<HTTPRequestDecoder>.self)
            try pipeline.addHandler(documents, position: .after(decoder))
            let connection = try pipeline.handler(type: HTTPConnectionStateHandler.self)
            try pipeline.addHandler(ChangesHandler(services: services, fields: fields), position: .after(connection))
            return value
        }
    }

    func handle(value: HTTP1Channel.Value, logger: Logger) async {
        await base.handle(value: value, logger: logger)
    }
}

/// The fields that all answers have, with the time of this second (RFC 9110, section 6.6.1).
final class CommonFields: Sendable {
    private struct Second {
        let number: Int64
        let fields: HTTPFields
        let text: String
    }

    private let lasting: HTTPFields
    private let newest = Mutex<Second?>(nil)

    /// The fields of one server.
    ///
    /// - Parameter isSecure: whether people reach it by TLS.
    init(isSecure: Bool) {
        lasting = Answers.headers(isSecure: isSecure)
    }

    /// The fields.
    ///
    /// - Parameter now: the time.
    /// - Returns: all of them.
    func fields(at now: Instant) -> HTTPFields { second(of: now).fields }

    /// The fields as the end of a head: lines, and the empty one.
    ///
    /// - Parameter now: the time.
    /// - Returns: the bytes.
    func text(at now: Instant) -> String { second(of: now).text }

    private func second(of now: Instant) -> Second {
        newest.withLock { newest in
            if let newest, newest.number == now.seconds { return newest }
            var fields = lasting
            fields[.date] = now.httpDate
            let lines = fields.map { "\($0.name.rawName): \($0.value)\r\n" }.joined()
            let second = Second(number: now.seconds, fields: fields, text: "\(lines)\r\n")
            newest = second
            return second
        }
    }
}
