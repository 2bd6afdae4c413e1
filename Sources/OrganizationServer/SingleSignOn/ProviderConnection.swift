import AsyncHTTPClient
import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import RegistryAccess

/// Asks a provider: nothing that it sends can hold the server up, and it is never followed elsewhere.
struct ProviderConnection: Sendable {
    /// The longest answer that is read, in bytes.
    var mostBytes = 64 << 10
    /// How long a whole exchange may take.
    var time = Duration.seconds(10)

    /// An answer.
    struct Answer: Sendable {
        let status: UInt
        let body: [UInt8]
    }

    /// Fetches a document.
    ///
    /// - Parameter address: where it is.
    /// - Returns: the document.
    /// - Throws: ``SingleSignOnFault``, also if the status is not 200.
    func fetch(_ address: String) async throws(SingleSignOnFault) -> [UInt8] {
        let answer = try await answer(to: HTTPClientRequest(url: address))
        guard answer.status == 200 else { throw .status(answer.status) }
        return answer.body
    }

    /// Sends a form.
    ///
    /// - Parameters:
    ///   - fields: the form.
    ///   - address: where to.
    ///   - authorization: the field `Authorization`.
    /// - Returns: the answer, whatever its status, if it does not send elsewhere.
    /// - Throws: ``SingleSignOnFault``.
    func send(_ fields: [(String, String)], to address: String, authorization: String?)
        async throws(SingleSignOnFault) -> Answer
    {
        var request = HTTPClientRequest(url: address)
        request.method = .POST
        request.headers.add(name: "Content-Type", value: "application/x-www-form-urlencoded")
        if let authorization { request.headers.add(name: "Authorization", value: authorization) }
        request.body = .bytes(ByteBuffer(string: PercentEncoding.form(fields)))
        return try await answer(to: request)
    }

    private func answer(to request: HTTPClientRequest) async throws(SingleSignOnFault) -> Answer {
        var sent = request
        sent.headers.add(name: "Accept", value: "application/json")
        sent.headers.add(name: "User-Agent", value: "docker-ram-server")
        let (request, time) = (sent, time)
        var configuration = HTTPClient.Configuration(redirectConfiguration: .disallow)
        configuration.timeout.connect = TimeAmount(time)
        configuration.httpVersion = .http1Only
        configuration.connectionPool.retryConnectionEstablishment = false
        let answer: Answer
        do {
            // Sign-ins are few: a client for each leaves nothing behind.
            answer = try await HTTPClient.withHTTPClient(configuration: configuration) { client in
                try await withThrowingTaskGroup(of: Answer?.self) { group in
                    group.addTask { try await read(request, client) }
                    group.addTask {
                        try await Task.sleep(for: time)
                        return nil
                    }
                    defer { group.cancelAll() }
                    guard let first = try await group.next(), let answer = first else {
                        throw SingleSignOnFault.tooSlow(time)
                    }
                    return answer
                }
            }
        } catch let fault as SingleSignOnFault {
            throw fault
        } catch {
            throw .unreachable(Self.words(error))
        }
        if (300...399).contains(answer.status) { throw .redirect }
        return answer
    }

    private func read(_ request: HTTPClientRequest, _ client: HTTPClient) async throws -> Answer {
        // The deadline is that of the task that races with this one.
        let response = try await client.execute(request, deadline: .distantFuture)
        var body: [UInt8] = []
        for try await part in response.body {
            guard body.count + part.readableBytes <= mostBytes else {
                throw SingleSignOnFault.tooLong(limit: mostBytes)
            }
            body.append(contentsOf: part.readableBytesView)
        }
        return Answer(status: response.status.code, body: body)
    }

    private static func words(_ error: any Error) -> String {
        switch error {
        case let error as HTTPClientError where error == .connectTimeout: "it does not answer"
        case let error as HTTPClientError: error.shortDescription
        // Where there is no address at all, nothing was attempted.
        case let error as NIOConnectionError:
            error.connectionErrors.last.map { words($0.error) } ?? "its name \"\(error.host)\" cannot be found"
        case let error as IOError where error.errnoCode == ECONNREFUSED: "it refuses connections"
        case let error as IOError: String(cString: strerror(error.errnoCode)).lowercased()
        case is NIOSSLError, is NIOSSLExtraError, is BoringSSLError: "its certificate or TLS is not accepted"
        default: String("\(error)".prefix { !$0.isNewline }.prefix(200))
        }
    }
}
