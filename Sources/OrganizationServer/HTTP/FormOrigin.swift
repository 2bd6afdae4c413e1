import HTTPTypes
import Hummingbird

extension Request {
    /// Whether a form was sent by a page of this server: by what browsers say of where it comes from.
    ///
    /// - Parameter address: where browsers reach the server.
    /// - Returns: whether `Origin` is the server's (or `Referer`, where there is no `Origin`), and `Sec-Fetch-Site` does not
    ///   say otherwise.
    func isFromPage(of address: PublicAddress) -> Bool {
        if let site = HTTPField.Name("Sec-Fetch-Site"), let value = headers[site],
            value != "same-origin", value != "none"
        {
            return false
        }
        let ours = address.description
        if let origin = headers[.origin] { return origin == ours }
        guard let referer = HTTPField.Name("Referer"), let value = headers[referer] else { return false }
        return value.hasPrefix("\(ours)/")
    }
}

extension Problem {
    /// A form that another site sent, or a page of an earlier session.
    static var foreignForm: Problem {
        Problem(
            .forbidden,
            .forbidden,
            "this form did not come from a page of your session, so nothing was done",
            hint: "go back, load the page anew and try again; the browser must accept cookies"
        )
    }
}
