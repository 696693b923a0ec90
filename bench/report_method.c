/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it was measured, and how to read it. */
#include "config.h"

#include "bench/report_page.h"
#include "bench/statistics.h"

int page_method(const struct page *page)
{
	fputs("<section id=\"method\"><h2>Method</h2>\n", page->out);
	fprintf(page->out,
		"<p><b>Rounds.</b> All contenders of a cell do the same job on files of their own, in turns, and who "
		"begins changes with each round; so what else the machine does meets all of them. A first round warms "
		"up and is thrown away. At least %u rounds count.</p>\n",
		page->results->rounds);
	fputs("<p><b>Numbers.</b> The median of the rounds, with the quartiles between which half of them lie. In "
	      "charts "
	      "a bar behind a point goes from quartile to quartile. Both axes are logarithmic, and the charts of one "
	      "workload have the same scales.</p>\n"
	      "<p><b>Ratio.</b> Each round of a series is divided by the round of the baseline beside it, and the "
	      "median of these ratios is shown. It can differ a little from the ratio of the medians.</p>\n",
	      page->out);
	fprintf(page->out,
		"<p><b>Noisy.</b> The quartiles are further apart than %.0f %% of the median. Such numbers are shown "
		"with "
		"this mark, and a ring in charts: they tell the order of magnitude, and no more.</p>\n",
		100 * STATISTICS_NOISY);
	fputs("<p><b>Growth.</b> A power of n is laid through the medians by least squares of their logarithms, "
	      "weighted by "
	      "how sure each is; the margin of the exponent holds in 90 of 100 cases. <i>Constant</i>: the exponent is "
	      "0 "
	      "within 0.1, and the line does not double over the range. <i>Linear</i>: it is 1 within 0.1. "
	      "<i>Constant, then linear</i>: a fixed cost and one for each unit fit the points, both were seen, and a "
	      "power does not fit. "
	      "<i>Unclear</i>: there are fewer than three points, the range is less than four to one, the margin is "
	      "more "
	      "than 0.15, or the points follow none of these. Nothing is taken from what the code is known to do.</p>\n"
	      "<p><b>Not the same job.</b> Some baselines do less than the library, and are marked with what they "
	      "lack. "
	      "<i>Not atomic</i>: a crash or a reader in the middle can see a mix of old and new. Ratios to them say "
	      "what "
	      "the difference costs, not who is better. Their lines are dotted.</p>\n"
	      "<p><b>Bar.</b> For some cells the project has set what they are not to exceed; those that do are marked "
	      "<i>over its bar</i>.</p>\n"
	      "<p><b>What is missing</b> is shown with its reason: <i>not supported</i> on that file system, <i>left "
	      "out</i> for want of time or room, or an <i>error</i>.</p>\n</section>\n",
	      page->out);
	return 0;
}
