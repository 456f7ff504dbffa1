//! Prices, added up exactly as they are written.

use dispatch_contract::Usage;

/// How many digits behind the point are kept; providers tell four or five.
const MAX_SCALE: usize = 12;

/// What `prices` come to. `None` if there are none, or if they cannot be added: different
/// currencies, or a text that is no decimal number.
pub(super) fn sum<'a>(prices: impl IntoIterator<Item = &'a Usage>) -> Option<Usage> {
    let mut prices = prices.into_iter();
    let first = prices.next()?;
    let (mut total, mut scale) = parse(&first.price)?;
    for usage in prices {
        if usage.currency != first.currency {
            return None;
        }
        let (mut price, digits) = parse(&usage.price)?;
        let common = scale.max(digits);
        total = total.checked_mul(10_i128.pow((common - scale) as u32))?;
        price = price.checked_mul(10_i128.pow((common - digits) as u32))?;
        total = total.checked_add(price)?;
        scale = common;
    }
    Some(Usage { currency: first.currency.clone(), price: shown(total, scale) })
}

/// The number without its point, and how many digits stood behind that.
fn parse(text: &str) -> Option<(i128, usize)> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = whole.strip_prefix('-').unwrap_or(whole);
    if unsigned.is_empty() || !is_number(unsigned) || !is_number(part) || part.len() > MAX_SCALE {
        return None;
    }
    Some((format!("{whole}{part}").parse().ok()?, part.len()))
}

fn shown(total: i128, scale: usize) -> String {
    let sign = if total < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", total.unsigned_abs(), width = scale + 1);
    let (whole, part) = digits.split_at(digits.len() - scale);
    if part.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(prices: &[(&str, &str)]) -> Option<String> {
        let prices: Vec<_> = prices
            .iter()
            .map(|(price, currency)| Usage {
                currency: (*currency).to_owned(),
                price: (*price).to_owned(),
            })
            .collect();
        sum(&prices).map(|usage| usage.price)
    }

    #[test]
    fn prices_are_added_without_rounding() {
        let eur = |price| (price, "EUR");
        assert_eq!(total(&[eur("0.0333"), eur("0.1"), eur("2")]).as_deref(), Some("2.1333"));
        assert_eq!(total(&[eur("0.0050")]).as_deref(), Some("0.0050"));
        assert_eq!(total(&[eur("1"), eur("-0.25")]).as_deref(), Some("0.75"));
        assert_eq!(total(&[eur("-0.5"), eur("0.25")]).as_deref(), Some("-0.25"));
    }

    #[test]
    fn what_cannot_be_added_has_no_sum() {
        assert_eq!(total(&[]), None);
        assert_eq!(total(&[("0.1", "EUR"), ("0.1", "USD")]), None);
        for price in ["", ".", "-", "a", "1e3", "0.1.2", "0,1", "+1", "1-2", "0.-1"] {
            assert_eq!(total(&[(price, "EUR")]), None, "{price}");
        }
    }
}
