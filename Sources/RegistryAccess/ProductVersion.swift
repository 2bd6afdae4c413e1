/// The version of all programs of this product.
public enum ProductVersion {
    /// For example `0.1.0`.
    public static let text = "0.1.0"
}
