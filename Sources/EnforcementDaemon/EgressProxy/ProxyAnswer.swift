import Glibc
import NIOCore
import RegistryAccess

/// What the proxy itself answers.
///
/// The engine shows the reason phrase of a refused `CONNECT` (Go, `net/http/transport.go`) and the body of another refused
/// request, if that is an error of the registry API (distribution, `registry/client/errors.go`).
enum ProxyAnswer: Equatable, Sendable {
    /// The tunnel is open.
    case established
    /// The proxy is there.
    case present
    /// The policy refuses it; the sentence.
    case refused(String)
    /// Whoever asks does not know the secret.
    case stranger
    /// The request is refused before anything is decided.
    case faulty(ProxyRequest.Fault)
    /// The destination cannot be reached; which, and why.
    case failed(String, DialFault)

    /// The status code.
    var status: Int {
        switch self {
        case .established, .present: 200
        case .refused, .failed(_, .refused): 403
        case .stranger: 407
        case .faulty(.tooLarge): 431
        case .faulty(.version): 505
        case .faulty: 400
        case .failed(_, .timeout): 504
        case .failed: 502
        }
    }

    /// What the person reads: printable ASCII, at most ``Refusal/longest`` characters.
    var phrase: String {
        let text =
            switch self {
            case .established: "Connection established"
            case .present: "docker-ram egress proxy"
            case .refused(let sentence), .failed(_, .refused(let sentence)): sentence
            case .stranger: "The egress proxy of docker-ram serves only the engine; run: docker ram doctor"
            case .faulty(let fault): "The egress proxy of docker-ram refuses this: \(fault)"
            case .failed(let authority, let fault): "The egress proxy of docker-ram cannot reach \(authority): \(fault)"
            }
        let bytes = text.utf8.prefix(Refusal.longest).map { (0x20...0x7E).contains($0) ? $0 : UInt8(ascii: "?") }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// The body; `nil` where bytes of the tunnel follow.
    var body: String? {
        switch self {
        case .established: return nil
        case .present: return "{}\n"
        default:
            let isRefusal = status == 403
            let error = JSONValue.object([
                JSONMember("code", .string(isRefusal ? "DENIED" : "UNAVAILABLE")),
                JSONMember("message", .string(phrase)),
            ])
            return JSONValue.object([JSONMember("errors", .array([error]))]).text() + "\n"
        }
    }

    /// Head and body as they are sent; the connection is closed behind a body.
    var bytes: ByteBuffer {
        var text = "HTTP/1.1 \(status) \(phrase)\r\n"
        if self == .stranger { text += "Proxy-Authenticate: Basic realm=\"docker-ram\"\r\n" }
        guard let body else { return ByteBuffer(string: "\(text)\r\n") }
        text += "Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\nConnection: close\r\n"
        return ByteBuffer(string: "\(text)\r\n\(body)")
    }
}

extension Channel {
    /// Sends the last that the proxy itself has to say, and closes behind it.
    ///
    /// What the client still sends is read and dropped for a moment: a close with unread bytes would reset the
    /// connection and could take the answer with it.
    ///
    /// - Parameters:
    ///   - bytes: what is sent.
    ///   - patience: how long to wait for the client to close its side.
    func sendLast(_ bytes: ByteBuffer, waitingFor patience: TimeAmount) {
        try? pipeline.syncOperations.addHandler(InboundSink(), position: .first)
        try? syncOptions?.setOption(.autoRead, value: true)
        let timer = eventLoop.scheduleTask(in: patience) { self.close(promise: nil) }
        closeFuture.whenComplete { _ in timer.cancel() }
        writeAndFlush(bytes).whenComplete { _ in self.close(mode: .output, promise: nil) }
    }
}

extension Channel {
    /// Makes a close at once a reset, which nobody who reads until the end takes for one, or not any more.
    func resetOnClose(_ isReset: Bool = true) {
        _ = (self as? any SocketOptionProvider)?.setSoLinger(linger(l_onoff: isReset ? 1 : 0, l_linger: 0))
    }
}

/// Drops what is read, before anything can keep it: a parser that waits for an upgrade holds whatever comes.
private final class InboundSink: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {}
}
