import HTTPTypes
import Hummingbird
import NIOCore

extension Response {
    /// A file for the reader to keep, written as it is read: there may be more than memory holds.
    ///
    /// - Parameters:
    ///   - name: what the file is called.
    ///   - mediaType: what it is.
    ///   - head: what stands in front.
    ///   - start: where reading begins.
    ///   - next: gives what stands at a place, and the next place; `nil` ends it.
    /// - Returns: the answer.
    static func download<Place: Sendable>(
        _ name: String,
        _ mediaType: String,
        head: String,
        from start: Place,
        _ next: @escaping @Sendable (Place) async throws -> (text: String, next: Place?)
    ) -> Response {
        let body = ResponseBody { writer in
            if !head.isEmpty { try await writer.write(ByteBuffer(string: head)) }
            var place: Place? = start
            while let here = place {
                let read = try await next(here)
                if !read.text.isEmpty { try await writer.write(ByteBuffer(string: read.text)) }
                place = read.next
            }
            try await writer.finish(nil)
        }
        var headers: HTTPFields = [.contentType: mediaType]
        headers[.contentDisposition] = "attachment; filename=\"\(name)\""
        return Response(status: .ok, headers: headers, body: body)
    }
}
