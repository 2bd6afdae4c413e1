import HTTPTypes
import Hummingbird
import NIOCore

extension Router<ServerContext> {
    /// The description of the server's routes for programs, in the form of OpenAPI 3.1; the tests hold it against the routes.
    func addDescriptionRoute() {
        let bytes = ByteBuffer(bytes: PackageResources.OpenAPI_json)
        get("v1/openapi.json") { _, _ in
            Response(
                status: .ok,
                headers: [
                    .contentType: "application/json", .cacheControl: "max-age=3600",
                    .contentLength: "\(bytes.readableBytes)",
                ],
                body: ResponseBody(byteBuffer: bytes)
            )
        }
    }
}
