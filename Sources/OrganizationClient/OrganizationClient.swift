import AsyncHTTPClient
import NIOCore
import NIOHTTP1
import NIOSSL
public import RegistryAccess
import SignedPolicy

/// The server of an organization as a machine sees it: signed documents, which any web server can hand out as well, and what
/// only the server itself can do.
///
/// Nothing that it sends is believed here, and nothing that it sends can hold a machine up: every answer has a longest size
/// and a longest time, and goes nowhere else than to where it was asked.
public final class OrganizationClient: Sendable {
    /// What an exchange with the server may not exceed.
    public struct Limits: Sendable {
        /// How long reaching the server may take.
        public var connecting = Duration.seconds(10)
        /// How long a whole exchange may take.
        public var exchange = Duration.seconds(30)
        /// How long a policy, which can be long, may take.
        public var policy = Duration.seconds(300)

        /// The defaults.
        public init() {}
    }

    /// A proxy that leads out of a company's network.
    public struct Proxy: Hashable, Sendable {
        /// Its host: a name, or an IP address without brackets.
        public let host: String
        /// Its port.
        public let port: UInt16
        /// `user:password`, if it wants to know who asks.
        public let credentials: Token?

        /// A proxy.
        ///
        /// - Parameters:
        ///   - host: its host.
        ///   - port: its port.
        ///   - credentials: `user:password`.
        public init(host: String, port: UInt16, credentials: Token?) {
            self.host = host
            self.port = port
            self.credentials = credentials
        }

        /// Host and port.
        var address: String { host.utf8.contains(0x3A) ? "[\(host)]:\(port)" : "\(host):\(port)" }
    }

    /// How one of the web servers is reached.
    struct Way: Sendable {
        fileprivate let client: HTTPClient
        fileprivate let proxy: Proxy?
    }

    /// What the server answered.
    struct Answer: Sendable {
        var status: UInt
        var tag: String?
        var body: [UInt8]
    }

    /// The server.
    public let server: ServerURL
    /// The organization.
    public let organization: String
    let documents: String
    let limits: Limits
    let toServer: Way
    let toDocuments: Way

    /// A client, which has to be shut down in the end.
    ///
    /// - Parameters:
    ///   - server: the server.
    ///   - organization: the organization.
    ///   - documents: the folder with a static copy of the documents, if they do not come from the server.
    ///   - certificateAuthority: the file with the certificate authorities that are trusted, if not the system's.
    ///   - limits: what an exchange may not exceed.
    ///   - proxy: which proxy leads to a web server, if one does; to the machine itself none is asked for.
    public init(
        server: ServerURL,
        organization: String,
        documents: ServerURL? = nil,
        certificateAuthority: String? = nil,
        limits: Limits = Limits(),
        proxy: (ServerURL) -> Proxy? = { _ in nil }
    ) {
        self.server = server
        self.organization = organization
        self.documents = documents?.description ?? "\(server)/v1/organizations/\(organization)/documents"
        self.limits = limits
        func way(to place: ServerURL) -> Way {
            let proxy = place.target.address.isLoopback ? nil : proxy(place)
            let client = Self.client(certificateAuthority, limits, through: proxy)
            return Way(client: client, proxy: proxy)
        }
        toServer = way(to: server)
        toDocuments = documents.map(way) ?? toServer
    }

    private static func client(
        _ certificateAuthority: String?,
        _ limits: Limits,
        through proxy: Proxy?
    ) -> HTTPClient {
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.minimumTLSVersion = .tlsv12
        if let certificateAuthority { tls.trustRoots = .file(certificateAuthority) }
        var configuration = HTTPClient.Configuration(
            tlsConfiguration: tls,
            redirectConfiguration: .disallow,
            timeout: .init(connect: TimeAmount(limits.connecting)),
            proxy: proxy.map { proxy in
                .server(
                    host: proxy.host,
                    port: Int(proxy.port),
                    authorization: proxy.credentials.map { credentials in
                        .basic(credentials: StrictBase64.encode(Array(credentials.text.utf8)))
                    }
                )
            }
        )
        configuration.httpVersion = .http1Only
        // Whoever calls knows when to try again.
        configuration.connectionPool.retryConnectionEstablishment = false
        return HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }

    /// Ends all exchanges; the client is of no use afterwards.
    public func shutdown() async {
        try? await toServer.client.shutdown()
        if toDocuments.client !== toServer.client { try? await toDocuments.client.shutdown() }
    }

    // MARK: - Exchanges

    /// Sends a request and reads the whole answer.
    ///
    /// - Parameters:
    ///   - request: the request.
    ///   - way: how it gets there; the way to the server if nothing is said.
    ///   - limit: the longest body, in bytes.
    ///   - time: how long all of it may take.
    /// - Returns: the answer, with a status of 200 to 204 or 304.
    /// - Throws: ``ServerFault``.
    func exchange(
        _ request: HTTPClientRequest,
        by way: Way? = nil,
        atMost limit: Int,
        within time: Duration
    ) async throws(ServerFault) -> Answer {
        let answer = try await answer(to: request, by: way, atMost: limit, within: time)
        switch answer.status {
        case 200...204, 304: return answer
        case 300...399: throw .redirect
        default: throw ServerFault(status: answer.status, body: answer.body)
        }
    }

    /// Sends a request and reads the whole answer, whatever it is.
    ///
    /// - Parameters:
    ///   - request: the request.
    ///   - way: how it gets there; the way to the server if nothing is said.
    ///   - limit: the longest body, in bytes.
    ///   - time: how long all of it may take.
    /// - Returns: the answer.
    /// - Throws: ``ServerFault`` if there is none.
    func answer(
        to request: HTTPClientRequest,
        by way: Way? = nil,
        atMost limit: Int,
        within time: Duration
    ) async throws(ServerFault) -> Answer {
        var request = request
        request.headers.replaceOrAdd(name: "User-Agent", value: "docker-ram")
        let sent = request
        let way = way ?? toServer
        do {
            return try await withThrowingTaskGroup(of: Answer?.self) { group in
                group.addTask { try await self.send(sent, by: way, atMost: limit) }
                group.addTask {
                    try await Task.sleep(for: time)
                    return nil
                }
                defer { group.cancelAll() }
                guard let first = try await group.next(), let answer = first else { throw ServerFault.tooSlow(time) }
                return answer
            }
        } catch let fault as ServerFault {
            throw fault
        } catch {
            throw ServerFault(unexplained: error, through: way.proxy)
        }
    }

    private func send(_ request: HTTPClientRequest, by way: Way, atMost limit: Int) async throws -> Answer {
        // The deadline is that of the task that races with this one.
        let response = try await way.client.execute(request, deadline: .distantFuture)
        // Who explains why not, does so in few words.
        let isGood = (200...204).contains(response.status.code)
        let most = isGood ? limit : min(limit, 64 << 10)
        if let announced = response.headers.first(name: "Content-Length").flatMap(Int.init), announced > most {
            throw ServerFault.tooLong(limit: most)
        }
        var body: [UInt8] = []
        for try await part in response.body {
            guard body.count + part.readableBytes <= most else { throw ServerFault.tooLong(limit: most) }
            body.append(contentsOf: part.readableBytesView)
        }
        try Task.checkCancellation()
        return Answer(status: response.status.code, tag: response.headers.first(name: "ETag"), body: body)
    }
}
